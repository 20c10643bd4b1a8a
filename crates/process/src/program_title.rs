//! What a process runs, in few words, from its arguments.

mod interpreter;
mod launchers;

use interpreter::{Program, is_interpreter, parse_interpreter_arguments};

/// More of the arguments is not looked at: a process may have megabytes of them.
const ARGUMENT_BYTES: usize = 64 * 1024;

/// A title is cut after so many characters.
const TITLE_CHARACTERS: usize = 96;

/// So many characters of a script's path are shown; of a longer one its end.
const PATH_CHARACTERS: usize = 60;

/// What a process runs, in few words; `None` when its name says as much.
///
/// `command_line` holds the arguments as `/proc/PID/cmdline` has them, each ended by NUL; `comm` is the kernel's name for the
/// process, `parent` the title of the process that started it, which helper processes of `multiprocessing` are named after.
/// What the process has written over its arguments is its own word for itself, and is the title.
///
/// ```
/// use viperf_process::describe_program;
///
/// let title = |arguments: &[u8]| describe_program(arguments, "python3.11", None);
/// assert_eq!(title(b"python3.11\0-m\0http.server\08000\0").as_deref(), Some("http.server"));
/// assert_eq!(title(b"/venv/bin/python\0/venv/bin/gunicorn\0-w\04\0app:wsgi\0").as_deref(), Some("gunicorn app:wsgi"));
/// assert_eq!(title(b"gunicorn: worker [app]\0\0\0\0").as_deref(), Some("gunicorn: worker [app]"));
/// assert_eq!(title(b"python3.11\0"), None);
/// ```
#[must_use]
pub fn describe_program(command_line: &[u8], comm: &str, parent: Option<&str>) -> Option<String> {
    let text = command_line
        .get(..ARGUMENT_BYTES)
        .unwrap_or(command_line)
        .trim_ascii_start();
    let end = text.iter().rposition(|&byte| byte != 0 && byte != b' ')?;
    let text = text.get(..=end)?;
    let words: Vec<String> = text
        .split(|&byte| byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let (first, rest) = words.split_first()?;
    let title = if rest.is_empty() && is_written_over(first) {
        first.clone()
    } else if is_interpreter(base_name(first)) {
        let program = parse_interpreter_arguments(rest)?;
        describe(&program, parent)
    } else {
        let name = base_name(first).trim_start_matches('-');
        // Of other programs the kernel's name is the better one: `env` and shells run scripts, which have names of their own.
        if !launchers::knows(name) && !name.starts_with(comm) {
            return None;
        }
        launchers::describe(name, rest)
    };
    let title = shorten(&title);
    (!title.is_empty() && title != comm).then_some(title)
}

/// One word that holds spaces and is no path: what `setproctitle` leaves behind.
fn is_written_over(word: &str) -> bool {
    word.contains(' ') && !word.starts_with(['/', '.'])
}

fn describe(program: &Program<'_>, parent: Option<&str>) -> String {
    match *program {
        Program::Code { code, .. } => match multiprocessing_role(code) {
            // One that was forked from such a helper has its arguments, and so its title.
            Some(role) => match parent.unwrap_or("multiprocessing") {
                helper if helper.ends_with(role) => helper.to_owned(),
                parent => format!("{parent}: {role}"),
            },
            None => "python -c".to_owned(),
        },
        Program::Module { name, arguments } => launchers::describe(name, arguments),
        Program::Script { path, arguments } => {
            let name = base_name(path);
            let folder = path.rsplit('/').nth(1).unwrap_or_default();
            let is_console_script =
                matches!(folder, "bin" | "sbin" | "Scripts") && !name.contains(".py");
            if is_console_script || launchers::knows(name) {
                launchers::describe(name, arguments)
            } else {
                shorten_path(path)
            }
        }
    }
}

/// The code that `multiprocessing` passes to the interpreters it starts:
/// <https://github.com/python/cpython/blob/v3.14.0/Lib/multiprocessing/spawn.py>, `forkserver.py`, `resource_tracker.py`.
fn multiprocessing_role(code: &str) -> Option<&'static str> {
    let module = code.strip_prefix("from multiprocessing.")?;
    let module = module.split_whitespace().next()?;
    match module {
        "spawn" => Some("spawned process"),
        "forkserver" => Some("fork server"),
        "resource_tracker" | "semaphore_tracker" => Some("resource tracker"),
        _ => None,
    }
}

/// Without folders.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The last folders of a long path.
fn shorten_path(path: &str) -> String {
    let count = path.chars().count();
    if count <= PATH_CHARACTERS {
        return path.to_owned();
    }
    let end: String = path.chars().skip(count - PATH_CHARACTERS).collect();
    let whole = end.split_once('/').map_or(end.as_str(), |(_, whole)| whole);
    format!("…/{whole}")
}

fn shorten(title: &str) -> String {
    let title = title.trim();
    match title.char_indices().nth(TITLE_CHARACTERS) {
        Some((end, _)) => format!("{}…", title.get(..end).unwrap_or(title)),
        None => title.to_owned(),
    }
}

#[cfg(test)]
mod tests;
