//! The `tokenzero` command. See [`tokenzero::cli`].

use std::process::ExitCode;

// Every tensor operation allocates its result; the system's allocator gives such blocks back to the
// kernel and faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tokenzero::cli::main()
}
