//! The only reader of /proc: mappings, namespaces, identity, remote memory.
