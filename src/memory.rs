//! What memory this process uses, as the operating system counts it.

/// Bytes of main memory that the process holds now; `None` where /proc cannot be read.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_written_to_is_resident() {
        let before = resident().unwrap();
        let block = vec![1u8; 64 << 20];
        let after = resident().unwrap();
        assert!(after >= before + (60 << 20), "{before} {after}");
        assert_eq!(block[block.len() - 1], 1);
    }
}
