//! A profile as a web page on this machine: [`FileContent`] for `viperf view`, [`LiveContent`] for `viperf record --live`.
//!
//! [`Server::start`] listens on 127.0.0.1 and answers whoever has the address that [`Server::address`] tells: it holds a
//! random token, and the page's own script asks for the data beside it.
//! What changes reaches the page through requests that wait: a page that is closed costs nothing.
//!
//! What it asks of you: [`Content`], which says what the page is told.
//!
//! What it does not do: no other interface than loopback, nothing that changes anything, and no file by a name from outside
//! but the source files of the profile itself, where its owner allowed that.
//! Requests may be hostile (any program of this machine can connect, and a page elsewhere can make a browser ask): method,
//! `Host`, token, size, time and number are bounded, and what is refused says nothing about the profile.

#![forbid(unsafe_code)]

mod content;
mod files;
mod live;
mod live_sources;
mod request;
mod server;

pub use content::{Choice, Content, DataRequest, SourceAnswer};
pub use files::{FileContent, ReadFile};
pub use live::LiveContent;
pub use server::{ServeError, Server};
