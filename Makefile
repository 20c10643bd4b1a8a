# The two commands of the README, and the measurements. Everything else is `cargo xtask`.

.PHONY: bench demo test toolchain

demo: toolchain
	cargo xtask demo

test: toolchain
	cargo xtask test

bench: toolchain
	cargo xtask interpreters
	cargo xtask bench

# Rust comes from rustup: viperf needs 1.95, which is newer than Debian 12's.
# cargo links with gcc, which only Debian's packages bring; cargo xtask installs the rest.
toolchain:
	@command -v cargo >/dev/null || { \
	  echo "cargo is missing; viperf needs Rust 1.95 or later. Install it and open a new shell:"; \
	  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; \
	  exit 1; }
	@command -v cc >/dev/null || { \
	  echo "a C compiler is missing; apt-get installs gcc"; \
	  apt-get -q update && apt-get -q -y --no-install-recommends install gcc libc6-dev; }
