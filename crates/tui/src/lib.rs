//! Live views in the terminal: what `viperf top` shows.
//!
//! ```text
//! whoever records ─► Live (names, samples summed up) ─► State::rows ─► draw ─► terminal
//!                                        keys ─► State::press ─┘
//! ```
//!
//! [`Live`] takes over a profile that grows; [`State`] is what is shown of it and what keys make of that, without a
//! terminal; [`run`] shows it on one until told to stop; [`plain_text`] is the same for who has none.
//!
//! What it asks of you: that somebody calls [`Live::grow`] about once a second, and [`Live::begin_anew`] when a profile that is
//! large is followed by another one.
//! What it will not do: record, print, end the program, or write a name from a target raw to the terminal.
#![forbid(unsafe_code)]

#[cfg(test)]
mod against_profile;
mod columns;
mod compaction;
#[cfg(test)]
mod compaction_tests;
mod copied;
mod draw;
#[cfg(test)]
mod draw_tests;
mod history;
mod live;
#[cfg(test)]
mod made_up;
mod overlay;
mod plain;
mod rows;
mod screen;
mod search;
mod state;
#[cfg(test)]
mod state_tests;
mod tally;
mod tick;
mod tree;
mod trend;
mod view;

pub use draw::Surroundings;
pub use history::{Quality, Window};
pub use live::Live;
pub use plain::plain_text;
pub use rows::{Row, RowId, SortBy};
pub use screen::{Ending, Recorder, Screen, run};
pub use search::Search;
pub use state::{Effect, Mode, Press, State};
pub use tree::Branch;
pub use view::{Key, Selection, View};
