//! A headless Chromium, spoken to over a pipe in its DevTools protocol: JSON messages that end in a
//! zero byte.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

pub struct Browser {
    process: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// The program in `TOKENZERO_CHROMIUM`, else `chromium`; `None`, with a line that says so, where
    /// there is neither.
    pub fn start() -> Option<Browser> {
        let program = std::env::var_os("TOKENZERO_CHROMIUM").or_else(|| {
            let found = Command::new("chromium").arg("--version").output();
            found
                .is_ok_and(|o| o.status.success())
                .then(|| "chromium".into())
        });
        if program.is_none() {
            eprintln!("skipped: no chromium; name one in TOKENZERO_CHROMIUM");
        }
        program.map(Browser::of)
    }

    fn of(program: OsString) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // Chromium listens on descriptor 3 and answers on 4. One that hangs is ended after a while.
        let script = r#"exec timeout 300 "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        let mut process = Command::new("sh")
            .args(["-c", script])
            .arg(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut browser = Browser {
            requests: process.stdin.take().unwrap(),
            replies: BufReader::new(process.stdout.take().unwrap()),
            process,
            session: None,
            last: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let size = json!({"width": 1600, "height": 1000, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", size);
        browser
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.requests
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut reply = Vec::new();
            self.replies.read_until(0, &mut reply).unwrap();
            assert_eq!(reply.pop(), Some(0), "the browser went away at {method}");
            let mut reply: Value = serde_json::from_slice(&reply).unwrap();
            if reply["id"] == self.last {
                assert!(reply["error"].is_null(), "{method}: {}", reply["error"]);
                return reply["result"].take();
            }
            self.events.push(reply);
        }
    }

    /// Opens a file and waits until its script has run.
    pub fn open(&mut self, page: &Path) {
        let url = format!("file://{}", page.display().to_string().replace('%', "%25"));
        self.call("Page.navigate", json!({"url": url}));
        while self.js("document.URL != 'about:blank' && document.readyState") != "complete" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The value of a JavaScript expression; promises are waited for.
    pub fn js(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut reply = self.call("Runtime.evaluate", params);
        assert!(reply["exceptionDetails"].is_null(), "{expression}: {reply}");
        reply["result"]["value"].take()
    }

    /// Milliseconds from before `action` until what it changed is on the screen.
    pub fn timed(&mut self, action: &str) -> f64 {
        let frames = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))";
        let code = format!(
            "(async () => {{ const from = performance.now(); {action}; await {frames}; return performance.now() - from; }})()"
        );
        self.js(&code).as_f64().unwrap()
    }

    /// Presses a key that has a name.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": kind, "key": key, "code": key}),
            );
        }
    }

    /// Errors, warnings and messages of the page, and what it asked the network for.
    pub fn complaints(&self) -> Vec<String> {
        let complaint = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => true,
            "Network.requestWillBeSent" => {
                let url = event["params"]["request"]["url"]
                    .as_str()
                    .unwrap_or_default();
                !url.starts_with("file:") && !url.starts_with("data:") && url != "about:blank"
            }
            _ => false,
        };
        let found = self.events.iter().filter(complaint);
        found.map(Value::to_string).collect()
    }

    /// Files that the page's loading asked for, itself included.
    pub fn files(&self) -> usize {
        let url = |event: &Value| {
            event["params"]["request"]["url"]
                .as_str()
                .map(str::to_owned)
        };
        let urls = self.events.iter().filter_map(url);
        urls.filter(|url| url.starts_with("file:")).count()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // With its pipes closed it ends by itself.
        let _ = self
            .requests
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.process.wait();
    }
}
