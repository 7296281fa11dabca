//! The `tokenzero` command. See [`tokenzero::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenzero::cli::main()
}
