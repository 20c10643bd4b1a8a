//! The terminal: taken, drawn to, listened to, and given back as it was.

use std::io::{self, Stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

use crate::draw::{Surroundings, draw};
use crate::live::Live;
use crate::rows::Row;
use crate::state::{Effect, Press, State};

/// How soon a signal and news are noticed.
const LOOK: Duration = Duration::from_millis(100);

/// What whoever records is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorder {
    /// It records.
    Records,
    /// The targets have ended; the last picture stays until a key ends it.
    HasEnded,
    /// There is nothing more to see: the time is over, or it failed.
    IsOver,
}

/// Why the screen was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The user has seen enough.
    Quit,
    /// The user wants the command to end, too.
    QuitAndEndCommand,
    /// This signal came.
    Signal(i32),
    /// Whoever records is over.
    Over,
}

/// The terminal while it is ours; it is given back when this is dropped, also by a panic.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    signals: Signals,
}

#[derive(Debug)]
struct Signals {
    ends: Vec<(i32, Arc<AtomicBool>)>,
    suspend: Arc<AtomicBool>,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let catch = |signal| {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            Ok::<_, io::Error>(flag)
        };
        let mut ends = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            ends.push((signal, catch(signal)?));
        }
        end_with_the_terminal()?;
        let suspend = catch(SIGTSTP)?;
        Ok(Self { ends, suspend })
    }

    fn ending(&self) -> Option<i32> {
        let came = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        let mut ends = self.ends.iter();
        ends.find(|(_, flag)| came(flag)).map(|(signal, _)| *signal)
    }
}

/// A terminal that has gone is readable for ever and has nothing to read, so crossterm does not come back to look at a
/// flag: a hang-up ends the program from a thread that waits for nothing else. What a command does then is between it and
/// the kernel, which tells it of the hang-up, too.
fn end_with_the_terminal() -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP])?;
    let wait = move || {
        if signals.forever().next().is_some() {
            give_back();
            let _ = signal_hook::low_level::emulate_default_handler(SIGHUP);
        }
    };
    let name = "viperf".to_owned();
    thread::Builder::new().name(name).spawn(wait).map(|_| ())
}

impl Screen {
    /// Takes the terminal that standard output is.
    ///
    /// # Errors
    ///
    /// It does not let itself be taken.
    pub fn take() -> io::Result<Self> {
        let signals = Signals::catch()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let mut screen = Self { terminal, signals };
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        self.terminal.clear()
    }

    /// Stops as Ctrl-Z does, and comes back with `fg`.
    fn suspend(&mut self) -> io::Result<()> {
        give_back();
        signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
        self.signals.suspend.store(false, Ordering::SeqCst);
        self.enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back. Where that fails, the terminal is gone, and there is nobody to tell.
fn give_back() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Shows `live` until the user, a signal or the recorder ends it. `look` is asked several times a second what the recorder
/// does, and may change what is shown around the data.
///
/// # Errors
///
/// The terminal is gone, or the profile is not sound.
pub fn run(
    screen: &mut Screen,
    live: &Mutex<Live>,
    state: &mut State,
    around: &mut Surroundings,
    look: &mut dyn FnMut(&mut State, &mut Surroundings) -> Recorder,
) -> io::Result<Ending> {
    let mut rows: Vec<Row> = Vec::new();
    let mut shown = None;
    let mut is_stale = true;
    let mut last_look: Option<Instant> = None;
    loop {
        if let Some(signal) = screen.signals.ending() {
            return Ok(Ending::Signal(signal));
        }
        if screen.signals.suspend.load(Ordering::SeqCst) {
            screen.suspend()?;
            is_stale = true;
        }
        if last_look.is_none_or(|last| last.elapsed() >= LOOK) {
            last_look = Some(Instant::now());
            let before = (around.note.clone(), around.output.len(), state.command_runs);
            if look(state, around) == Recorder::IsOver {
                return Ok(Ending::Over);
            }
            is_stale |= before != (around.note.clone(), around.output.len(), state.command_runs);
        }
        {
            let live = live.lock().unwrap_or_else(PoisonError::into_inner);
            if is_stale || shown != Some(live.generation()) {
                state.follow(&live);
                rows = state.rows(&live).map_err(io::Error::other)?;
                screen
                    .terminal
                    .draw(|frame| draw(frame, state, &live, &rows, around))?;
                shown = Some(live.generation());
                is_stale = false;
            }
        }
        if !event::poll(LOOK)? {
            continue;
        }
        let effect = match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match press_of(key) {
                Some(press) => state.press(press, &rows),
                None => continue,
            },
            Event::Resize(..) => Effect::Redraw,
            _ => continue,
        };
        is_stale = true;
        let lock = || live.lock().unwrap_or_else(PoisonError::into_inner);
        match effect {
            Effect::None => {}
            Effect::Quit => return Ok(Ending::Quit),
            Effect::QuitAndEndCommand => return Ok(Ending::QuitAndEndCommand),
            Effect::Suspend => screen.suspend()?,
            Effect::Redraw => screen.terminal.clear()?,
            Effect::Freeze(is_frozen) => lock().freeze(is_frozen),
            Effect::Reset => lock().reset(),
        }
    }
}

fn press_of(key: KeyEvent) -> Option<Press> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Press::Interrupt,
        KeyCode::Char('z') if is_control => Press::Suspend,
        KeyCode::Char('l') if is_control => Press::Redraw,
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char(character) => Press::Character(character),
        KeyCode::Enter => Press::Enter,
        KeyCode::Esc => Press::Escape,
        KeyCode::Backspace => Press::Backspace,
        KeyCode::Tab => Press::Tab,
        KeyCode::BackTab => Press::BackTab,
        KeyCode::Up => Press::Up,
        KeyCode::Down => Press::Down,
        KeyCode::Left => Press::Left,
        KeyCode::Right => Press::Right,
        KeyCode::PageUp => Press::PageUp,
        KeyCode::PageDown => Press::PageDown,
        KeyCode::Home => Press::Home,
        KeyCode::End => Press::End,
        _ => return None,
    })
}
