//! Finished trees on their way into a shard: a file that grows by a tree at a time.
//!
//! `trees.journal` in a folder of traces holds, for each tree, the number of its problem and the tree
//! in postcard's encoding, framed by length and CRC-32. A process that dies leaves at most one torn
//! frame, at the end. Trees go from here into shards, and the file goes when the last shard is
//! written.

use std::fs::{self as std_fs, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Error, TreeRecord, fs};

const NAME: &str = "trees.journal";
/// Length and checksum.
const HEAD: usize = 8;

/// The journal of one folder of traces, open to append.
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of `dir`, making it where it is missing, and returns the trees that an
    /// earlier process left in it. What follows the first bad frame is dropped; where that is more
    /// than a torn end, the file is kept aside first and a warning names it.
    ///
    /// # Errors
    ///
    /// The file system.
    pub fn open(dir: &Path) -> Result<(Self, Vec<(usize, TreeRecord)>), Error> {
        let path = dir.join(NAME);
        let bytes = match std_fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(fs::Error::at("read", &path))?,
        };
        let (trees, good, torn) = frames(&bytes);
        if good < bytes.len() && !torn {
            let kept = fs::quarantine(&path)?;
            tracing::warn!(
                "{} is damaged behind its first {} trees: it is kept as {}, the other trees are made again",
                path.display(),
                trees.len(),
                kept.display()
            );
            fs::write_atomic_bytes(&path, &bytes[..good])?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(fs::Error::at("open", &path))?;
        file.set_len(good as u64)
            .map_err(fs::Error::at("write", &path))?;
        Ok((Self { path, file }, trees))
    }

    /// Appends the tree of problem number `index` in one write.
    ///
    /// # Errors
    ///
    /// The file system.
    pub fn append(&mut self, index: usize, tree: &TreeRecord) -> Result<(), Error> {
        self.file
            .write_all(&frame(index, tree))
            .map_err(fs::Error::at("write", &self.path))?;
        Ok(())
    }

    /// Replaces the content by `trees`.
    ///
    /// # Errors
    ///
    /// The file system.
    pub fn reset<'a>(
        &mut self,
        trees: impl Iterator<Item = (usize, &'a TreeRecord)>,
    ) -> Result<(), Error> {
        let bytes: Vec<u8> = trees.flat_map(|(index, tree)| frame(index, tree)).collect();
        fs::write_atomic_bytes(&self.path, &bytes)?;
        self.file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(fs::Error::at("open", &self.path))?;
        Ok(())
    }

    /// Deletes the file.
    ///
    /// # Errors
    ///
    /// The file system.
    pub fn remove(self) -> Result<(), Error> {
        std_fs::remove_file(&self.path).map_err(fs::Error::at("delete", &self.path))?;
        Ok(())
    }
}

fn frame(index: usize, tree: &TreeRecord) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    bytes = postcard::to_extend(&(index as u64, tree), bytes)
        .expect("a tree is numbers and lists, and a vector takes any length");
    let length = (bytes.len() - HEAD) as u32;
    let sum = crc32fast::hash(&bytes[HEAD..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEAD].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The trees of the frames up to the first bad one, how many bytes those take, and whether the bad
/// one is only cut off.
fn frames(bytes: &[u8]) -> (Vec<(usize, TreeRecord)>, usize, bool) {
    let mut trees = Vec::new();
    let mut at = 0;
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(word.try_into().ok()?))
    };
    while at < bytes.len() {
        let (Some(length), Some(sum)) = (word(at), word(at + 4)) else {
            return (trees, at, true);
        };
        let start = at + HEAD;
        let Some(body) = bytes.get(start..start.saturating_add(length as usize)) else {
            return (trees, at, true);
        };
        let tree = Some(body)
            .filter(|body| crc32fast::hash(body) == sum)
            .and_then(|body| postcard::from_bytes::<(u64, TreeRecord)>(body).ok());
        let Some((index, tree)) = tree else {
            return (trees, at, false);
        };
        trees.push((index as usize, tree));
        at = start + body.len();
    }
    (trees, at, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::NodeRecord;
    use proptest::prelude::*;

    fn tree(problem: u64) -> TreeRecord {
        let root = NodeRecord {
            return_sum: 1.0 / 3.0,
            outcome: Some(-1.0),
            child_tokens: vec![5, 6],
            child_log_probs: vec![-0.1, -2.5],
            child_priors: vec![0.9, 0.1],
            ..NodeRecord::default()
        };
        TreeRecord {
            problem,
            prompt: vec![1, 2, 3],
            solved_greedily: Some(true),
            nodes: vec![root],
            ..TreeRecord::default()
        }
    }

    #[test]
    fn trees_come_back_and_a_torn_end_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, none) = Journal::open(dir.path()).unwrap();
        assert!(none.is_empty());
        journal.append(4, &tree(40)).unwrap();
        journal.append(2, &tree(20)).unwrap();
        let path = dir.path().join(NAME);
        let whole = std_fs::read(&path).unwrap();
        for cut in whole.len() / 2 + 1..whole.len() {
            std_fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, trees) = Journal::open(dir.path()).unwrap();
            assert_eq!(trees, [(4, tree(40))]);
            journal.append(2, &tree(20)).unwrap();
            assert_eq!(std_fs::read(&path).unwrap(), whole);
        }
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 1);
        let (mut journal, trees) = Journal::open(dir.path()).unwrap();
        journal
            .reset(trees[1..].iter().map(|(i, tree)| (*i, tree)))
            .unwrap();
        journal.append(7, &tree(70)).unwrap();
        let (journal, trees) = Journal::open(dir.path()).unwrap();
        assert_eq!(trees, [(2, tree(20)), (7, tree(70))]);
        journal.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_journal_is_kept_aside_and_its_good_trees_are_used() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        for index in 0..3 {
            journal.append(index, &tree(index as u64)).unwrap();
        }
        let path = dir.path().join(NAME);
        let mut bytes = std_fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std_fs::write(&path, &bytes).unwrap();
        let (_, trees) = Journal::open(dir.path()).unwrap();
        assert_eq!(trees, [(0, tree(0))]);
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_, good, _) = frames(&bytes);
            prop_assert!(good <= bytes.len());
        }
    }
}
