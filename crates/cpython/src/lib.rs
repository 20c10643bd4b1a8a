//! What viperf knows of CPython: layouts, detection, line tables, strings.
