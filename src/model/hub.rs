//! Model directories from the Hugging Face Hub, cached where every other tool looks for them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::weights::{self, INDEX_FILE, SINGLE_FILE, Weights, WeightsError};

/// Files without which a model cannot be used, fetched first: they tell a wrong name at once.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Files that not every repository has.
const OPTIONAL: [&str; 3] = [
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];
/// How often a broken download is resumed before giving up.
const ATTEMPTS: usize = 4;

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "`{0}` is not a Hub repository; expected `owner/name`, or a local directory through --set model.path=DIR"
    )]
    Name(String),
    #[error(
        "{repo}@{revision}: cannot reach the Hub for {file} ({reason}); check the network and run the same command again (the download resumes), or use a local copy with --set model.path=DIR"
    )]
    Network {
        repo: String,
        revision: String,
        file: String,
        reason: String,
    },
    #[error(
        "{repo}: the Hub refuses access (HTTP {status}): the repository is private, gated or does not exist; accept its terms on its page and log in with `hf auth login` or set HF_TOKEN, or use a local copy with --set model.path=DIR"
    )]
    Refused { repo: String, status: u16 },
    #[error(
        "{repo}@{revision} has no {file} (HTTP 404); check the repository's name and the revision; it needs config.json, tokenizer.json and safetensors weights, or use a local copy with --set model.path=DIR"
    )]
    Missing {
        repo: String,
        revision: String,
        file: String,
    },
    #[error(
        "{}: the cached download is damaged and was removed; run the same command again to fetch it", .0.display()
    )]
    Damaged(PathBuf),
    #[error(
        "{repo}: the revision {revision} moved while it was being fetched; run the same command again, or pin a commit"
    )]
    Moved { repo: String, revision: String },
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// The directory of a model, fetched on first use: configuration, tokenizer, and weights as
/// safetensors. A complete copy in the cache (`HF_HOME`, else `~/.cache/huggingface`) is used
/// without asking the network; an interrupted download resumes. A token is read from `HF_TOKEN`,
/// else from where `hf auth login` leaves it; `HF_ENDPOINT` names a mirror.
///
/// # Errors
/// A name that is no repository, no network, no access, no such repository, revision or file.
pub fn fetch_model(repo: &str, revision: &str) -> Result<PathBuf, HubError> {
    let mut builder = ApiBuilder::from_env().with_progress(std::io::stderr().is_terminal());
    if let Ok(token) = std::env::var("HF_TOKEN")
        && !token.is_empty()
    {
        builder = builder.with_token(Some(token));
    }
    fetch(builder, Cache::from_env(), repo, revision)
}

/// The directory of a model that [`fetch_model`] has fetched before; the network is not asked.
pub fn cached_model(repo: &str, revision: &str) -> Option<PathBuf> {
    let spec = Repo::with_revision(repo.into(), RepoType::Model, revision.into());
    is_name(repo).then(|| cached(&Cache::from_env(), &spec))?
}

/// Whether this is `owner/name`, with nothing that a path would take for its own.
fn is_name(repo: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    matches!(repo.split('/').collect::<Vec<_>>()[..], [a, b] if plain(a) && plain(b))
}

fn fetch(
    builder: ApiBuilder,
    cache: Cache,
    repo: &str,
    revision: &str,
) -> Result<PathBuf, HubError> {
    if !is_name(repo) {
        return Err(HubError::Name(repo.to_string()));
    }
    let spec = Repo::with_revision(repo.into(), RepoType::Model, revision.into());
    if let Some(dir) = cached(&cache, &spec) {
        return Ok(dir);
    }
    let download = Download {
        api: (builder.build())
            .map_err(|e| failed(repo, revision, "the client", &e))?
            .repo(spec),
        repo,
        revision,
    };
    let mut dir: Option<PathBuf> = None;
    let mut keep = |file: PathBuf| {
        let parent = file.parent().map(Path::to_path_buf).unwrap_or_default();
        match dir.get_or_insert_with(|| parent.clone()) {
            first if *first == parent => Ok(()),
            _ => Err(HubError::Moved {
                repo: repo.into(),
                revision: revision.into(),
            }),
        }
    };
    // The weights come last, so that a directory with all its weights is complete.
    for file in REQUIRED {
        keep(download.get(file)?)?;
    }
    for file in OPTIONAL {
        if let Some(path) = download.find(file)? {
            keep(path)?;
        }
    }
    match download.find(SINGLE_FILE)? {
        Some(path) => keep(path)?,
        None => {
            let index = download.get(INDEX_FILE)?;
            let mut shards: Vec<String> = weights::shard_map(&index)?.into_values().collect();
            keep(index)?;
            shards.sort();
            shards.dedup();
            for shard in shards {
                keep(download.get(&shard)?)?;
            }
        }
    }
    let dir = dir.unwrap_or_default();
    match Weights::open(&dir) {
        Ok(_) => Ok(dir),
        Err(WeightsError::Corrupt { path, .. }) => {
            // The name in the snapshot is a link to the data: both go, or the link would be used.
            let data = path.canonicalize();
            for file in [Ok(path.clone()), data].into_iter().flatten() {
                // Already gone is as good.
                let _ = std::fs::remove_file(file);
            }
            Err(HubError::Damaged(path))
        }
        Err(other) => Err(other.into()),
    }
}

/// The snapshot directory, if everything is in the cache.
fn cached(cache: &Cache, spec: &Repo) -> Option<PathBuf> {
    let cache = cache.repo(spec.clone());
    let files = REQUIRED.map(|file| cache.get(file));
    let [Some(config), Some(_)] = files else {
        return None;
    };
    let dir = config.parent()?.to_path_buf();
    Weights::open(&dir).is_ok().then_some(dir)
}

struct Download<'a> {
    api: ApiRepo,
    repo: &'a str,
    revision: &'a str,
}

impl Download<'_> {
    fn get(&self, file: &str) -> Result<PathBuf, HubError> {
        let mut attempt = 1;
        loop {
            // Each call goes on from the length of the partial file. The client's own retries may
            // append to it from the start, so they stay off.
            match self.api.get(file) {
                Ok(path) => return Ok(path),
                // A small file that fails means that the network is down.
                Err(ApiError::RequestError(_) | ApiError::IoError(_))
                    if attempt < ATTEMPTS && file.ends_with(".safetensors") =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(failed(self.repo, self.revision, file, &error)),
            }
        }
    }

    fn find(&self, file: &str) -> Result<Option<PathBuf>, HubError> {
        match self.get(file) {
            Ok(path) => Ok(Some(path)),
            Err(HubError::Missing { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

fn failed(repo: &str, revision: &str, file: &str, error: &ApiError) -> HubError {
    let (repo, revision, file) = (repo.to_string(), revision.to_string(), file.to_string());
    match http_status(error) {
        Some(404) => HubError::Missing {
            repo,
            revision,
            file,
        },
        Some(status @ (401 | 403)) => HubError::Refused { repo, status },
        _ => HubError::Network {
            repo,
            revision,
            file,
            reason: error.to_string(),
        },
    }
}

/// The HTTP status in a client error. The client keeps it in a type of a crate that is no
/// dependency here, so it is read from the message: `request error: http status: 404`.
fn http_status(error: &ApiError) -> Option<u16> {
    let text = error.to_string();
    let (_, status) = text.split_once("http status: ")?;
    status.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::Weight;
    use std::collections::HashMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A Hub of one repository: answers with a status to all else, counts requests, and hangs up
    /// half-way through the first download of weights.
    fn serve(
        files: HashMap<&'static str, Vec<u8>>,
        status_otherwise: u16,
    ) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        std::thread::spawn(move || {
            let mut hang_up = true;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                let range = lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .find_map(|line| {
                        let (name, value) = line.split_once(": ")?;
                        let from = value.strip_prefix("bytes=")?;
                        (name.eq_ignore_ascii_case("range")).then(|| from.to_string())
                    });
                counter.fetch_add(1, Ordering::SeqCst);
                let name = request.split(' ').nth(1).unwrap();
                let name = name.strip_prefix("/owner/name/resolve/rev/").unwrap_or("");
                let (head, body) = match files.get(name) {
                    None => (format!("HTTP/1.1 {status_otherwise} No\r\n"), &[][..]),
                    Some(bytes) => {
                        let range = range.unwrap();
                        let (from, to) = range.split_once('-').unwrap();
                        let from: usize = from.parse().unwrap();
                        let to = to.parse().map_or(bytes.len(), |to: usize| to + 1);
                        let to = to.min(bytes.len());
                        let head = format!(
                            "HTTP/1.1 206 Partial\r\netag: \"{}\"\r\nx-repo-commit: abc\r\ncontent-range: bytes {from}-{}/{}\r\n",
                            name.replace('.', "_"),
                            to - 1,
                            bytes.len()
                        );
                        (head, &bytes[from..to])
                    }
                };
                let head = format!(
                    "{head}content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                // The client may hang up early.
                let _ = stream.write_all(head.as_bytes());
                let half = hang_up && name == SINGLE_FILE && body.len() > 1;
                hang_up &= !half;
                let _ = stream.write_all(if half { &body[..body.len() / 2] } else { body });
            }
        });
        (address, count)
    }

    fn fetch_from(address: &str, cache: &Path) -> Result<PathBuf, HubError> {
        let cache = Cache::new(cache.to_path_buf());
        let builder = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(address.to_string())
            .with_token(None)
            .with_progress(false);
        fetch(builder, cache, "owner/name", "rev")
    }

    fn weights() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let weight = Weight {
            name: "a".into(),
            shape: vec![2],
            data: vec![1.0, 2.0],
        };
        weights::save(dir.path(), &[weight], weights::StoredType::F32).unwrap();
        std::fs::read(dir.path().join(SINGLE_FILE)).unwrap()
    }

    #[test]
    fn a_model_is_fetched_through_a_broken_connection_and_then_needs_no_network() {
        let cache = tempfile::tempdir().unwrap();
        let files = HashMap::from([
            ("config.json", b"{}".to_vec()),
            ("tokenizer.json", b"{}".to_vec()),
            ("generation_config.json", b"{}".to_vec()),
            (SINGLE_FILE, weights()),
        ]);
        let (address, count) = serve(files, 404);
        let dir = fetch_from(&address, cache.path()).unwrap();
        let read = Weights::open(&dir).unwrap();
        assert_eq!(read.get("a", &[2]).unwrap(), [1.0, 2.0]);
        assert!(dir.join("generation_config.json").exists());
        let requests = count.load(Ordering::SeqCst);
        assert_eq!(fetch_from(&address, cache.path()).unwrap(), dir);
        assert_eq!(count.load(Ordering::SeqCst), requests);
    }

    #[test]
    fn a_damaged_download_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let mut bytes = weights();
        bytes.truncate(bytes.len() - 1);
        let files = HashMap::from([
            ("config.json", b"{}".to_vec()),
            ("tokenizer.json", b"{}".to_vec()),
            (SINGLE_FILE, bytes),
        ]);
        let (address, _) = serve(files, 404);
        match fetch_from(&address, cache.path()) {
            Err(HubError::Damaged(path)) => assert!(!path.exists()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_failure_says_what_to_do() {
        let cache = tempfile::tempdir().unwrap();
        let (address, _) = serve(HashMap::new(), 404);
        let error = fetch_from(&address, cache.path()).unwrap_err();
        assert!(matches!(&error, HubError::Missing { file, .. } if file == "config.json"));
        for status in [401, 403] {
            let (address, _) = serve(HashMap::new(), status);
            let error = fetch_from(&address, cache.path()).unwrap_err();
            assert!(matches!(error, HubError::Refused { status: s, .. } if s == status));
        }
        // Nothing listens on a port that was just given back.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let error = fetch_from(&address, cache.path()).unwrap_err();
        assert!(matches!(error, HubError::Network { .. }), "{error}");
        assert!(error.to_string().contains("--set model.path=DIR"));
        assert!(matches!(
            fetch_model("just-a-name", "main"),
            Err(HubError::Name(_))
        ));
    }
}
