//! .eh_frame to compact unwind rows, and the walk that uses them.
