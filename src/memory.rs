//! Memory of this process and of the machine, by what Linux says of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of this process in main memory now; `None` where /proc does not say.
pub fn resident() -> Option<u64> {
    field(&status()?, "VmRSS:")
}

/// The most bytes that this process has had in main memory so far; `None` where /proc does not say.
pub fn peak() -> Option<u64> {
    field(&status()?, "VmHWM:")
}

/// Bytes that can still be had without swapping: what the machine has free, or what the limit of this
/// process's control group leaves, whichever is lower. `None` where neither can be read.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| field(&text, "MemAvailable:"));
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| group_headroom(&text, Path::new("/sys/fs/cgroup")));
    [machine, group].into_iter().flatten().min()
}

/// Gives what the allocator keeps for later back to the system, so that one phase's leavings do not
/// add to the peak of the next.
pub fn trim() {
    // SAFETY: it takes nothing, frees only what is free, and may be called on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Lets the allocator keep freed pages for a minute instead of ten milliseconds before they go back to
/// the system: steps take longer than that, and pages that come back are zeroed anew.
pub fn keep_freed_pages() {
    // `mi_option_purge_delay`, which the bindings do not name, stands before this one.
    let purge_delay = libmimalloc_sys::mi_option_use_numa_nodes - 1;
    // SAFETY: a number is stored; whatever the user set in the environment wins.
    unsafe { libmimalloc_sys::mi_option_set_default(purge_delay, 60_000) };
}

fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

/// The bytes behind `name` in lines such as `VmRSS:   12 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

/// What the tightest control group that the process belongs to leaves; `membership` is the text of
/// /proc/self/cgroup, `root` where the groups are mounted.
fn group_headroom(membership: &str, root: &Path) -> Option<u64> {
    let own = |line: &str| -> Option<(PathBuf, [&str; 2])> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            Some((root.join(path), ["memory.max", "memory.current"]))
        } else if controllers.split(',').any(|name| name == "memory") {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
            Some((root.join("memory").join(path), names))
        } else {
            None
        }
    };
    membership
        .lines()
        .filter_map(own)
        .flat_map(|(group, names)| {
            let above: Vec<PathBuf> = group
                .ancestors()
                .take_while(|dir| dir.starts_with(root))
                .map(Path::to_owned)
                .collect();
            above
                .into_iter()
                .filter_map(move |dir| headroom(&dir, names))
        })
        .min()
}

/// What the limit of one group leaves; `None` without a limit.
fn headroom(group: &Path, [limit, usage]: [&str; 2]) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let limit: u64 = read(limit)?.trim().parse().ok()?;
    let used: u64 = read(usage)?.trim().parse().ok()?;
    // Pages of files that nobody uses are given back before anything is refused.
    let idle = read("memory.stat")
        .and_then(|stat| {
            let idle = stat
                .lines()
                .find_map(|line| line.strip_prefix("inactive_file "))?;
            idle.trim().parse::<u64>().ok()
        })
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

/// How often a [`Watch`] looks: a pass of a small fit takes tens of milliseconds.
const EVERY: Duration = Duration::from_millis(5);

/// Follows the memory of this process from its making on, to find the peak of a part of the work;
/// [`peak`] knows that of the whole process only.
#[derive(Debug)]
pub struct Watch {
    before: Option<u64>,
    seen: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to look. Where no thread can be had, only the beginning and the end are seen.
    pub fn start() -> Watch {
        let seen = Arc::new(AtomicU64::new(resident().unwrap_or(0)));
        let done = Arc::new(AtomicBool::new(false));
        let (of_thread, ended) = (seen.clone(), done.clone());
        let look = move || {
            while !ended.load(Ordering::Relaxed) {
                of_thread.fetch_max(resident().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        };
        Watch {
            before: peak(),
            seen,
            done,
            thread: std::thread::Builder::new()
                .name("memory".into())
                .spawn(look)
                .ok(),
        }
    }

    /// The peak since the start, in bytes; `None` where /proc does not say.
    pub fn end(mut self) -> Option<u64> {
        self.stop();
        let (now, peak) = (resident()?, peak()?);
        let seen = self.seen.load(Ordering::Relaxed).max(now);
        // A new record of the whole process is one of this part, and exact.
        Some(match self.before {
            Some(before) if peak > before => peak,
            _ => seen,
        })
    }

    fn stop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only reads a file: there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_somewhere_between_nothing_and_its_peak() {
        let watch = Watch::start();
        let filled = vec![1u8; 64 << 20];
        let now = resident().unwrap();
        assert!(now >= filled.len() as u64);
        assert!(peak().unwrap() >= now);
        drop(filled);
        assert!(watch.end().unwrap() >= now - (1 << 20));
        assert!(available().unwrap() > 1 << 20);
    }

    #[test]
    fn the_tightest_group_counts_and_idle_file_pages_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let put = |group: &Path, name: &str, text: &str| {
            std::fs::write(group.join(name), text).unwrap();
        };
        put(&inner, "memory.max", "max\n");
        put(&inner, "memory.current", "900\n");
        let outer = dir.path().join("a");
        assert_eq!(group_headroom("0::/a/b\n", dir.path()), None);
        put(&outer, "memory.max", "1000\n");
        put(&outer, "memory.current", "900\n");
        assert_eq!(group_headroom("0::/a/b\n", dir.path()), Some(100));
        put(
            &outer,
            "memory.stat",
            "anon 5\ninactive_file 300\nactive_file 9\n",
        );
        assert_eq!(group_headroom("0::/a/b\n", dir.path()), Some(400));
        let old = dir.path().join("memory/c");
        std::fs::create_dir_all(&old).unwrap();
        put(&old, "memory.limit_in_bytes", "50\n");
        put(&old, "memory.usage_in_bytes", "20\n");
        assert_eq!(
            group_headroom("4:cpu:/x\n3:cpu,memory:/c\n", dir.path()),
            Some(30)
        );
        assert_eq!(field("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
    }
}
