//! Whose code a file is: the project's, an installed package's, or the standard library's.
//!
//! CPython keeps the standard library in `PREFIX/lib/pythonX.Y` (`lib64` on some distributions, `pythonXY.zip` when frozen
//! together) and packages in `site-packages` below it; Debian calls the folder of its own packages `dist-packages`:
//! <https://github.com/python/cpython/blob/v3.12.0/Modules/getpath.py#L20-L60>.
//! Modules that are compiled into the interpreter have a file name of the form `<frozen importlib._bootstrap>`.

use std::borrow::Cow;

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Everything that is not known to be somebody else's.
    Project,
    /// An installed package.
    Package,
    /// The standard library.
    StandardLibrary,
}

impl Origin {
    /// The name in prose and in files: `project`, `package`, `standard-library`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Package => "package",
            Self::StandardLibrary => "standard-library",
        }
    }
}

/// What a Python file's path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Whose code it is.
    pub origin: Origin,
    /// `json.encoder` for code of the standard library or a package, the path as it is for the project's.
    pub name: Cow<'a, str>,
}

impl<'a> Module<'a> {
    /// What the file of a code object (`co_filename`) tells.
    #[must_use]
    pub fn of_file(path: &'a str) -> Self {
        let (origin, inside) = match find_origin(path) {
            (Origin::Project, _) => {
                return Self {
                    origin: Origin::Project,
                    name: Cow::Borrowed(path),
                };
            }
            found => found,
        };
        Self {
            origin,
            name: dotted(inside),
        }
    }

    /// `json` of `json.encoder`; the whole path for the project's own code.
    #[must_use]
    pub fn package(&self) -> &str {
        match self.origin {
            Origin::Project => &self.name,
            _ => self.name.split('.').next().unwrap_or(&self.name),
        }
    }
}

/// Whose code `path` is, and the path inside that folder.
fn find_origin(path: &str) -> (Origin, &str) {
    if let Some(frozen) = path.strip_prefix("<frozen ") {
        return (Origin::StandardLibrary, frozen.trim_end_matches('>'));
    }
    for folder in ["/site-packages/", "/dist-packages/"] {
        if let Some(at) = path.rfind(folder) {
            return (
                Origin::Package,
                path.get(at + folder.len()..).unwrap_or_default(),
            );
        }
    }
    let mut rest = path;
    while let Some((folder, below)) = rest.split_once('/') {
        let before = path.len() - rest.len();
        let parent = path.get(..before).unwrap_or_default();
        if is_standard_library(parent, folder) {
            return (Origin::StandardLibrary, below);
        }
        rest = below;
    }
    (Origin::Project, path)
}

/// `lib/python3.12` and `lib/python312.zip`.
fn is_standard_library(parent: &str, folder: &str) -> bool {
    let in_library = ["lib/", "lib64/", "lib32/"]
        .iter()
        .any(|library| parent.ends_with(library));
    let version = folder
        .strip_prefix("python")
        .or_else(|| folder.strip_prefix("pypy"));
    in_library
        && version.is_some_and(|version| {
            version.starts_with(|first: char| first.is_ascii_digit())
                && version
                    .trim_end_matches(".zip")
                    .trim_end_matches('t')
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
        })
}

/// `json.encoder` of `json/encoder.py`, `json` of `json/__init__.py`.
fn dotted(path: &str) -> Cow<'_, str> {
    let stem = [".pyc", ".pyx", ".py"]
        .iter()
        .find_map(|suffix| path.strip_suffix(suffix))
        .unwrap_or(path);
    let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
    match stem.contains('/') {
        true => Cow::Owned(stem.replace('/', ".")),
        false => Cow::Borrowed(stem),
    }
}

/// `python3.12`, `libpython3.12.so.1.0`: what runs Python, of which no more is to be said.
#[must_use]
pub fn is_interpreter(library: &str) -> bool {
    ["python2", "python3", "libpython"]
        .iter()
        .any(|name| library.starts_with(name))
        || library == "python"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_real_installations_are_told_apart() {
        use Origin::{Package, Project, StandardLibrary};
        for (path, origin, name, package) in [
            ("/srv/app.py", Project, "/srv/app.py", "/srv/app.py"),
            ("<stdin>", Project, "<stdin>", "<stdin>"),
            ("", Project, "", ""),
            (
                "/usr/lib/python3.12/json/encoder.py",
                StandardLibrary,
                "json.encoder",
                "json",
            ),
            (
                "/opt/py/lib/python3.13t/json/__init__.py",
                StandardLibrary,
                "json",
                "json",
            ),
            (
                "/usr/lib64/python2.7/threading.py",
                StandardLibrary,
                "threading",
                "threading",
            ),
            ("/usr/lib/python312.zip/os.py", StandardLibrary, "os", "os"),
            (
                "<frozen importlib._bootstrap>",
                StandardLibrary,
                "importlib._bootstrap",
                "importlib",
            ),
            (
                "/srv/.venv/lib/python3.12/site-packages/django/db/models/query.py",
                Package,
                "django.db.models.query",
                "django",
            ),
            (
                "/usr/lib/python3/dist-packages/six.py",
                Package,
                "six",
                "six",
            ),
            (
                "/srv/lib/python-client/a.py",
                Project,
                "/srv/lib/python-client/a.py",
                "/srv/lib/python-client/a.py",
            ),
            ("lib/python3.12/x.py", StandardLibrary, "x", "x"),
        ] {
            let module = Module::of_file(path);
            assert_eq!(
                (module.origin, module.name.as_ref(), module.package()),
                (origin, name, package),
                "{path}"
            );
        }
    }
}
