//! The state of the screen: what is shown, and what a key makes of it.

use viperf_profile::{FunctionHandle, ProfileError};

use crate::compaction::Moved;
use crate::history::Window;
use crate::live::Live;
use crate::rows::{Row, RowId, SortBy, table_rows};
use crate::search::Search;
use crate::tree::{Toggled, TreeOptions, tree_rows};
use crate::view::{Key, Selection, View};

/// A key that was pressed, as far as it means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// A character.
    Character(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// To the left.
    Left,
    /// To the right.
    Right,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
}

/// What the keyboard talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The table.
    Table,
    /// The line in which a filter is typed.
    Search,
    /// The keys.
    Help,
    /// Why samples are not complete.
    Reasons,
    /// What the command has printed.
    Output,
    /// What to do with the command, which still runs.
    Leave,
}

/// What a key asks for beyond the state itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// End.
    Quit,
    /// End, and the command with it.
    QuitAndEndCommand,
    /// Stop as Ctrl-Z does.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Keep the picture, or go on.
    Freeze(bool),
    /// Count anew.
    Reset,
}

/// Everything that is shown beside the data.
#[derive(Clone, Debug)]
pub struct State {
    /// What the rows are.
    pub view: View,
    /// Their order.
    pub sort: SortBy,
    /// Over which time shares are taken.
    pub window: Window,
    /// Which samples are looked at.
    pub selection: Selection,
    /// Which rows are shown.
    pub search: Search,
    /// What is being typed.
    pub typed: String,
    /// What the keyboard talks to.
    pub mode: Mode,
    /// Whether the picture is kept as it is.
    pub is_frozen: bool,
    /// Whether the tree shows every frame.
    pub is_full: bool,
    /// What was opened and closed in the tree.
    pub(crate) toggled: Toggled,
    /// The row under the cursor.
    pub cursor: Option<RowId>,
    /// Its place in the rows that were shown last.
    pub at: usize,
    /// The first row on the screen.
    pub top: usize,
    /// How many rows fit; set by whoever draws.
    pub page: usize,
    /// Whether there is a command that runs: leaving needs a word about it.
    pub command_runs: bool,
    /// Whether there is, or was, a command.
    pub has_command: bool,
    /// How often rows had been let go when their numbers were those here.
    pub(crate) times_moved: u64,
}

impl State {
    /// The first picture.
    #[must_use]
    pub fn new(view: View, sort: SortBy) -> Self {
        Self {
            view,
            sort,
            window: Window::ALL[0],
            selection: Selection::default(),
            search: Search::default(),
            typed: String::new(),
            mode: Mode::Table,
            is_frozen: false,
            is_full: false,
            toggled: Toggled::new(),
            cursor: None,
            at: 0,
            top: 0,
            page: 20,
            command_runs: false,
            has_command: false,
            times_moved: 0,
        }
    }

    /// Rows of `live` may have been let go since the last look, and the others have other numbers: what is chosen, open and under
    /// the cursor stays, unless it is gone. To be called before [`Self::rows`].
    pub fn follow(&mut self, live: &Live) {
        if self.times_moved == live.times_moved {
            return;
        }
        let nothing = Moved::default();
        // Whoever was away for longer begins with nothing chosen.
        let moved = match live.times_moved - self.times_moved {
            1 => &live.moved,
            _ => &nothing,
        };
        self.times_moved = live.times_moved;
        let Selection {
            process,
            tid,
            function,
        } = &mut self.selection;
        *process = process.and_then(|process| moved.rows.process(process));
        *tid = tid.filter(|_| process.is_some());
        *function = function.and_then(|function| moved.rows.function(function));
        let path = |path: Vec<FunctionHandle>| -> Option<Vec<FunctionHandle>> {
            let functions = path.into_iter();
            functions
                .map(|function| moved.rows.function(function))
                .collect()
        };
        self.cursor = self.cursor.take().and_then(|cursor| match cursor {
            RowId::Key(key) => moved.key(key).map(RowId::Key),
            RowId::Path(functions) => path(functions).map(RowId::Path),
        });
        let toggled = std::mem::take(&mut self.toggled).into_iter();
        self.toggled = toggled
            .filter_map(|(functions, is_open)| Some((path(functions)?, is_open)))
            .collect();
    }

    /// The rows that are to be shown.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when the profile is not sound.
    pub fn rows(&self, live: &Live) -> Result<Vec<Row>, ProfileError> {
        match self.view {
            View::Tree => {
                let options = TreeOptions {
                    is_full: self.is_full,
                    toggled: &self.toggled,
                    search: &self.search,
                };
                tree_rows(live, self.window, self.selection, options)
            }
            view => {
                let order = (self.sort, &self.search);
                table_rows(live, view, self.window, self.selection, order)
            }
        }
    }

    /// Puts the cursor where its row is now, and the screen where the cursor is.
    pub fn settle(&mut self, rows: &[Row]) {
        let moved = self
            .cursor
            .as_ref()
            .and_then(|cursor| rows.iter().position(|row| row.id == *cursor));
        self.at = moved.unwrap_or(self.at).min(rows.len().saturating_sub(1));
        let lowest = (self.at + 1).saturating_sub(self.page.max(1));
        self.top = self.top.clamp(lowest, self.at.max(lowest));
    }

    /// What `press` makes of the state, with `rows` on the screen.
    pub fn press(&mut self, press: Press, rows: &[Row]) -> Effect {
        match (self.mode, press) {
            (_, Press::Suspend) => Effect::Suspend,
            (_, Press::Redraw) => Effect::Redraw,
            (Mode::Leave, Press::Interrupt) => Effect::Quit,
            (_, Press::Interrupt) => self.leave(),
            (Mode::Table, press) => self.press_in_table(press, rows),
            (Mode::Search, press) => self.press_in_search(press),
            (Mode::Leave, Press::Character('e')) => Effect::QuitAndEndCommand,
            (Mode::Leave, Press::Character('w' | 'q')) => Effect::Quit,
            (Mode::Help | Mode::Reasons | Mode::Output | Mode::Leave, _) => {
                self.mode = Mode::Table;
                Effect::None
            }
        }
    }

    fn leave(&mut self) -> Effect {
        if !self.command_runs {
            return Effect::Quit;
        }
        self.mode = Mode::Leave;
        Effect::None
    }

    fn press_in_search(&mut self, press: Press) -> Effect {
        match press {
            Press::Character(character) => self.typed.push(character),
            Press::Backspace => {
                self.typed.pop();
            }
            Press::Enter => self.mode = Mode::Table,
            Press::Escape => {
                self.typed.clear();
                self.mode = Mode::Table;
            }
            _ => {}
        }
        self.search = Search::new(&self.typed);
        Effect::None
    }

    fn press_in_table(&mut self, press: Press, rows: &[Row]) -> Effect {
        match press {
            Press::Up | Press::Character('k') => self.move_to(self.at.saturating_sub(1), rows),
            Press::Down | Press::Character('j') => self.move_to(self.at + 1, rows),
            Press::PageUp => self.move_to(self.at.saturating_sub(self.page), rows),
            Press::PageDown => self.move_to(self.at + self.page, rows),
            Press::Home | Press::Character('g') => self.move_to(0, rows),
            Press::End | Press::Character('G') => self.move_to(rows.len(), rows),
            Press::Tab => self.show(self.view.after(1)),
            Press::BackTab => self.show(self.view.after(View::ALL.len() - 1)),
            Press::Left => self.open(false, rows),
            Press::Right => self.open(true, rows),
            Press::Enter => self.enter(rows),
            Press::Escape | Press::Backspace => self.widen(),
            Press::Character(character) => return self.press_character(character),
            Press::Interrupt | Press::Suspend | Press::Redraw => {}
        }
        Effect::None
    }

    fn press_character(&mut self, character: char) -> Effect {
        match character {
            'q' => return self.leave(),
            ' ' => {
                self.is_frozen = !self.is_frozen;
                return Effect::Freeze(self.is_frozen);
            }
            'r' => return Effect::Reset,
            's' => self.sort = self.sort.next(),
            'o' => self.sort = SortBy::Own,
            't' => self.sort = SortBy::Total,
            'n' => self.sort = SortBy::Name,
            'w' => self.window = self.window.next(),
            'f' => self.is_full = !self.is_full,
            '/' => {
                self.mode = Mode::Search;
                self.typed = self.search.text().to_owned();
            }
            '?' | 'h' => self.mode = Mode::Help,
            'i' => self.mode = Mode::Reasons,
            'c' if self.has_command => self.mode = Mode::Output,
            '1'..='9' => {
                let number = character.to_digit(10).unwrap_or_default() as usize;
                if let Some(view) = View::ALL.get(number.saturating_sub(1)) {
                    self.show(*view);
                }
            }
            _ => {}
        }
        Effect::None
    }

    fn move_to(&mut self, at: usize, rows: &[Row]) {
        self.at = at.min(rows.len().saturating_sub(1));
        self.cursor = rows.get(self.at).map(|row| row.id.clone());
    }

    fn show(&mut self, view: View) {
        if self.view != view {
            self.view = view;
            self.cursor = None;
            self.at = 0;
            self.top = 0;
        }
    }

    /// Opens or closes the branch under the cursor.
    fn open(&mut self, opens: bool, rows: &[Row]) {
        let row = rows.get(self.at);
        if let Some(RowId::Path(path)) = row.map(|row| &row.id) {
            self.toggled.insert(path.clone(), opens);
            self.cursor = row.map(|row| row.id.clone());
        }
    }

    /// Goes into the row under the cursor: a process shows its threads, everything else its tree.
    fn enter(&mut self, rows: &[Row]) {
        let Some(row) = rows.get(self.at) else {
            return;
        };
        match &row.id {
            RowId::Key(Key::Process(process)) => {
                self.selection.process = Some(*process);
                self.selection.tid = None;
                self.show(View::Threads);
            }
            RowId::Key(Key::Thread(process, tid)) => {
                self.selection.process = Some(*process);
                self.selection.tid = Some(*tid);
                self.show(View::Tree);
            }
            RowId::Key(Key::Function(function) | Key::Line(function, _)) => {
                self.selection.function = Some(*function);
                self.show(View::Tree);
            }
            RowId::Key(Key::Module(_)) => {}
            RowId::Path(_) => {
                let is_open = row.branch.as_ref().and_then(|branch| branch.is_open);
                self.open(!is_open.unwrap_or_default(), rows);
            }
        }
    }

    /// Takes back what was chosen last: the filter, then the selection from the inside out.
    fn widen(&mut self) {
        if !self.search.is_empty() {
            self.search = Search::default();
        } else if self.selection.widen() {
            self.cursor = None;
        }
    }
}
