//! Programs whose arguments say what they run.

use super::{base_name, shorten_path};

/// Programs that are given an application as `module:attribute`.
const SERVERS: [&str; 9] = [
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "daphne",
    "granian",
    "waitress-serve",
    "uwsgi",
    "pyuwsgi",
    "dramatiq",
];

/// Programs of which the first plain word says what they do.
const WITH_COMMANDS: [&str; 20] = [
    "manage.py",
    "django-admin",
    "django",
    "flask",
    "airflow",
    "superset",
    "prefect",
    "dagster",
    "mlflow",
    "streamlit",
    "scrapy",
    "rq",
    "dbt",
    "pip",
    "pip3",
    "poetry",
    "uv",
    "jupyter",
    "ansible",
    "salt",
];

/// Whether a script of this name is more than its path.
pub(super) fn knows(name: &str) -> bool {
    let name = program_of(name);
    SERVERS.contains(&name) || WITH_COMMANDS.contains(&name) || name == "celery"
}

/// A program or module, by its name and what follows it.
pub(super) fn describe(name: &str, arguments: &[String]) -> String {
    let program = program_of(name);
    let words = || arguments.iter().map(String::as_str);
    match program {
        "celery" => describe_celery(arguments),
        "ipykernel_launcher" | "ipykernel" => describe_kernel(arguments),
        "joblib.externals.loky.backend.popen_loky_posix" | "loky.backend.popen_loky_posix" => {
            let name = value_of(arguments, &["--process-name"]);
            format!("loky {}", name.unwrap_or("worker"))
        }
        _ if SERVERS.contains(&program) => {
            let application = words()
                .find(|word| is_application(word))
                .or_else(|| value_of(arguments, &["-w", "--module", "--wsgi"]))
                .map(str::to_owned)
                .or_else(|| {
                    let named = value_of(arguments, &["--wsgi-file", "--file", "--ini", "--yaml"]);
                    let configured = || words().find(|word| word.ends_with(".ini"));
                    named.or_else(configured).map(shorten_path)
                });
            join(program, application.as_deref())
        }
        _ if WITH_COMMANDS.contains(&program) => join(program, words().find(|word| is_plain(word))),
        _ => program.to_owned(),
    }
}

/// A module that stands for a program: `celery.__main__`, `django.core.management`.
fn program_of(name: &str) -> &str {
    let name = base_name(name);
    let name = name.strip_suffix(".__main__").unwrap_or(name);
    match name {
        "jupyter-lab" | "jupyter-notebook" | "jupyter-server" | "ipython" => name,
        "django.core.management" => "django",
        _ => name,
    }
}

fn join(program: &str, what: Option<&str>) -> String {
    match what {
        Some(what) => format!("{program} {what}"),
        None => program.to_owned(),
    }
}

/// `celery -A shop worker`: the application and the command.
fn describe_celery(arguments: &[String]) -> String {
    const COMMANDS: [&str; 12] = [
        "worker", "beat", "events", "flower", "multi", "inspect", "control", "shell", "status",
        "purge", "call", "report",
    ];
    let mut title = "celery".to_owned();
    if let Some(application) = value_of(arguments, &["-A", "--app"]) {
        title += " -A ";
        title += application;
    }
    let command = arguments
        .iter()
        .find(|word| COMMANDS.contains(&word.as_str()));
    join(&title, command.map(String::as_str))
}

/// A notebook's kernel, by the beginning of the identity in the name of its connection file.
fn describe_kernel(arguments: &[String]) -> String {
    let file = value_of(arguments, &["-f", "--f", "--IPKernelApp.connection_file"]);
    let identity = file
        .map(base_name)
        .and_then(|file| file.strip_prefix("kernel-")?.strip_suffix(".json"));
    let short = identity.map(|identity| identity.split('-').next().unwrap_or(identity));
    join("jupyter kernel", short)
}

/// The value of an option: the next word, or what stands after `=`; of a short one what stands after its letter, too.
fn value_of<'a>(arguments: &'a [String], options: &[&str]) -> Option<&'a str> {
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        for option in options {
            match word.strip_prefix(option) {
                Some("") => return words.next(),
                Some(rest) if option.starts_with("--") => {
                    if let Some(value) = rest.strip_prefix('=') {
                        return Some(value);
                    }
                }
                Some(rest) => return Some(rest),
                None => {}
            }
        }
    }
    None
}

/// `shop.wsgi:application`, `main:create_app()`; no address such as `localhost:8000`.
fn is_application(word: &str) -> bool {
    let Some((module, attribute)) = word.split_once(':') else {
        return false;
    };
    let is_name = |name: &str| {
        let begins = |character: char| character.is_alphabetic() || character == '_';
        let goes_on = |character: char| character.is_alphanumeric() || "_.".contains(character);
        name.starts_with(begins) && name.chars().all(goes_on)
    };
    let attribute = attribute.split('(').next().unwrap_or_default();
    is_name(module) && is_name(attribute)
}

/// A word such as `runserver`.
fn is_plain(word: &str) -> bool {
    word.starts_with(|character: char| character.is_ascii_alphabetic())
        && word
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_-".contains(character))
}
