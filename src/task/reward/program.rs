//! A program of the user's that rewards texts: a line of JSON in, a line of JSON out.

use super::{Asked, Params};
use serde::Deserialize;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How much of what a program wrote an error shows. Characters.
const SHOWN: usize = 120;
/// How long a program that closed its output is given to end. Milliseconds.
const ENDING: u64 = 500;

/// Why a program's reward is not there.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be started.
    #[error(
        "reward.command: {program:?} cannot be started ({source}); write a program that is installed, or its \
         path, and then its arguments"
    )]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It ended while it had a text to reward.
    #[error("reward.command: {program:?} ended ({how}) before it answered{said}")]
    Died {
        /// The program.
        program: String,
        /// How it ended.
        how: String,
        /// Its last line of error output, or nothing.
        said: String,
    },
    /// It took too long.
    #[error(
        "reward.command: {program:?} has not answered within {seconds} s; it must answer every line with one \
         line and flush it (print(..., flush=True)), or raise reward.timeout_s"
    )]
    Slow {
        /// The program.
        program: String,
        /// What it may take.
        seconds: f64,
    },
    /// Its answer is something else.
    #[error(
        "reward.command: {program:?} answered {line:?}; it must answer {{\"reward\": x}} with x from -1 to 1, or \
         {{\"error\": \"why\"}}"
    )]
    Answer {
        /// The program.
        program: String,
        /// The start of what it wrote.
        line: String,
    },
    /// It says that it cannot reward the text.
    #[error("reward.command: {program:?} says: {error}")]
    Own {
        /// The program.
        program: String,
        /// What it says.
        error: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    reward: Option<f64>,
    error: Option<String>,
}

struct Job {
    line: String,
    reply: oneshot::Sender<Result<f32, Fault>>,
}

/// Children that a [`Program`] runs, so that its end is theirs.
type Running = Arc<Mutex<Vec<Option<Child>>>>;

/// The running program: a queue of texts, and threads that each talk with a child of their own. A child that
/// fails is ended, and another is started for the next text.
pub(super) struct Program {
    name: String,
    jobs: Option<Sender<Job>>,
    running: Running,
}

impl Program {
    /// Starts the program.
    pub fn start(params: &Params) -> Result<Self, Fault> {
        let count = params.processes.max(1);
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let running: Running = Arc::new(Mutex::new((0..count).map(|_| None).collect()));
        let name = params.command.first().cloned().unwrap_or_default();
        let program = Self {
            name,
            jobs: Some(jobs),
            running: running.clone(),
        };
        for place in 0..count {
            let mut servant = Servant {
                command: params.command.clone(),
                timeout: Duration::from_secs_f64(params.timeout_s),
                place,
                running: running.clone(),
                talk: None,
            };
            // A program that is not there is found before any work is done.
            servant.talk = Some(servant.start()?);
            let queue = queue.clone();
            thread::spawn(move || servant.serve(&queue));
        }
        Ok(program)
    }

    /// The program's reward of a text.
    pub async fn ask(&self, asked: &Asked<'_>) -> Result<f32, Fault> {
        let ended = || Fault::Died {
            program: self.name.clone(),
            how: "its thread is gone".into(),
            said: String::new(),
        };
        // Texts and a flag always have a JSON form.
        let line = serde_json::to_string(asked).unwrap_or_default() + "\n";
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(Job { line, reply }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.jobs = None;
        for child in lock(&self.running).iter_mut() {
            if let Some(mut child) = child.take() {
                end(&mut child);
            }
        }
    }
}

/// A panic elsewhere leaves the content whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a child and what it started, and takes leave of it.
fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        // SAFETY: a plain system call; the child leads a process group of its own and is not waited for
        // yet, so the number is still its own.
        unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
    }
    let _ = child.wait();
}

/// A thread's part: it has a child while there is one.
struct Servant {
    command: Vec<String>,
    timeout: Duration,
    place: usize,
    running: Running,
    talk: Option<Talk>,
}

/// The ends of a child's pipes, served by a thread that may block on them.
struct Talk {
    lines: Sender<String>,
    answers: Receiver<io::Result<String>>,
    /// The last line of its error output.
    said: Arc<Mutex<String>>,
    /// Closed when there is no more of it.
    silent: Receiver<()>,
}

impl Servant {
    fn name(&self) -> String {
        self.command.first().cloned().unwrap_or_default()
    }

    fn serve(mut self, queue: &Mutex<Receiver<Job>>) {
        loop {
            let job = lock(queue).recv();
            let Ok(job) = job else {
                return self.end();
            };
            // Nobody waits any more.
            if job.reply.is_closed() {
                continue;
            }
            let reward = self.reward(job.line);
            let broken = !matches!(reward, Ok(_) | Err(Fault::Own { .. }));
            if broken {
                self.end();
            }
            let _ = job.reply.send(reward);
        }
    }

    fn start(&self) -> Result<Talk, Fault> {
        let failed = |source| Fault::Start {
            program: self.name(),
            source,
        };
        // Its own process group: Ctrl-C is for the run, which ends the program when it is done with it.
        let mut child = Command::new(self.name())
            .args(self.command.iter().skip(1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(failed(io::Error::other("it has no pipes")));
        };
        lock(&self.running)[self.place] = Some(child);
        let (lines, to_write) = channel();
        let (read, answers) = channel();
        thread::spawn(move || converse(stdin, stdout, &to_write, &read));
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        let (speaks, silent) = channel();
        thread::spawn(move || {
            let _speaks: Sender<()> = speaks;
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if !line.trim().is_empty() {
                    *lock(&heard) = line;
                }
            }
        });
        Ok(Talk {
            lines,
            answers,
            said,
            silent,
        })
    }

    /// Asks the child for one reward.
    fn reward(&mut self, line: String) -> Result<f32, Fault> {
        let talk = match self.talk.take() {
            Some(talk) => talk,
            None => self.start()?,
        };
        let sent = talk.lines.send(line);
        let answer = match sent {
            Ok(()) => talk.answers.recv_timeout(self.timeout),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        match answer {
            Ok(Ok(line)) => {
                let reward = self.read(&line);
                self.talk = Some(talk);
                reward
            }
            Err(RecvTimeoutError::Timeout) => Err(Fault::Slow {
                program: self.name(),
                seconds: self.timeout.as_secs_f64(),
            }),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(self.death(&talk)),
        }
    }

    fn read(&self, line: &str) -> Result<f32, Fault> {
        let program = self.name();
        match serde_json::from_str(line) {
            Ok(Answered {
                reward: Some(reward),
                error: None,
            }) if (-1.0..=1.0).contains(&reward) => Ok(reward as f32),
            Ok(Answered {
                reward: None,
                error: Some(error),
            }) => Err(Fault::Own { program, error }),
            _ => Err(Fault::Answer {
                program,
                line: shown(line),
            }),
        }
    }

    /// How the child ended, and what it said last.
    fn death(&self, talk: &Talk) -> Fault {
        let until = Instant::now() + Duration::from_millis(ENDING);
        let how = loop {
            let status = match &mut lock(&self.running)[self.place] {
                Some(child) => child.try_wait(),
                None => break "it was stopped".to_owned(),
            };
            match status {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                _ => break "it closed its output".to_owned(),
            }
        };
        // What it said last may still be on its way.
        let _ = talk.silent.recv_timeout(Duration::from_millis(ENDING));
        let last = shown(&lock(&talk.said));
        let said = match last.is_empty() {
            true => String::new(),
            false => format!("; it said: {last}"),
        };
        Fault::Died {
            program: self.name(),
            how,
            said,
        }
    }

    fn end(&mut self) {
        self.talk = None;
        let child = lock(&self.running)[self.place].take();
        if let Some(mut child) = child {
            end(&mut child);
        }
    }
}

/// Passes lines on until either side ends.
fn converse(
    mut stdin: ChildStdin,
    stdout: ChildStdout,
    lines: &Receiver<String>,
    answers: &Sender<io::Result<String>>,
) {
    let mut stdout = BufReader::new(stdout);
    for line in lines {
        let mut answer = String::new();
        let done = stdin
            .write_all(line.as_bytes())
            .and_then(|()| stdin.flush())
            .and_then(|()| stdout.read_line(&mut answer));
        let result = match done {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(answer),
            Err(error) => Err(error),
        };
        let over = result.is_err();
        if answers.send(result).is_err() || over {
            return;
        }
    }
}

fn shown(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
