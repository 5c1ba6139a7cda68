//! A model's server whose every byte a test decides: it speaks HTTP over real TCP, and can do so badly.

use secrecy::SecretString;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use switchboard::{config::ProviderConfig, provider::openai::OpenAi};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// Steps by which the server answers one request. After the last one it closes the connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes as they are.
    Raw(Vec<u8>),
    /// Sends these bytes as one chunk of a chunked body.
    Chunk(Vec<u8>),
    /// Ends the chunked body properly, and keeps the connection for another request.
    End,
    /// Says nothing for so long.
    Wait(Duration),
    /// Says nothing until the client is gone.
    Stall,
    /// Sends this chunk again and again until the client is gone.
    Repeat(Vec<u8>),
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: serde_json::Value,
}

/// A running server; it ends with the test.
pub struct Upstream {
    addr: SocketAddr,
    state: Arc<State>,
}

/// Chooses the script for a request by its body, which is null for one without.
type Answerer = Box<dyn Fn(&serde_json::Value) -> Vec<Step> + Send + Sync>;

struct State {
    /// One script a request, in order. With none left, a request is answered by closing the connection.
    scripts: Mutex<VecDeque<Vec<Step>>>,
    answerer: Option<Answerer>,
    requests: Mutex<Vec<Request>>,
    accepted: AtomicUsize,
    open: watch::Sender<usize>,
}

impl Upstream {
    pub async fn start(scripts: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::listen(scripts.into_iter().collect(), None).await
    }

    /// A server that answers each request by what it asks.
    pub async fn answering(answerer: impl Fn(&serde_json::Value) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(VecDeque::new(), Some(Box::new(answerer))).await
    }

    async fn listen(scripts: VecDeque<Vec<Step>>, answerer: Option<Answerer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            scripts: Mutex::new(scripts),
            answerer,
            requests: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: watch::channel(0).0,
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.send_modify(|open| *open += 1);
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    // An error is a client that went away.
                    let _ = serve(socket, &state).await;
                    state.open.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { addr, state }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Connections made so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open.
    pub async fn all_closed(&self) {
        let mut open = self.state.open.subscribe();
        let closed = open.wait_for(|open| *open == 0);
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("the connection is still open").unwrap();
    }
}

async fn serve(mut socket: TcpStream, state: &State) -> std::io::Result<()> {
    loop {
        let Some(request) = read_request(&mut socket).await? else { return Ok(()) };
        let script = match &state.answerer {
            Some(answerer) => answerer(&request.body),
            None => state.scripts.lock().unwrap().pop_front().unwrap_or_default(),
        };
        state.requests.lock().unwrap().push(request);
        let keep = matches!(script.last(), Some(Step::End));
        for step in script {
            perform(&mut socket, step).await?;
        }
        if !keep {
            return Ok(());
        }
    }
}

async fn perform(socket: &mut TcpStream, step: Step) -> std::io::Result<()> {
    match step {
        Step::Raw(bytes) => socket.write_all(&bytes).await,
        Step::Chunk(bytes) => socket.write_all(&chunk(&bytes)).await,
        Step::End => socket.write_all(b"0\r\n\r\n").await,
        Step::Wait(time) => {
            sleep(time).await;
            Ok(())
        }
        // Readable means that the client closed: it has nothing more to say.
        Step::Stall => socket.read(&mut [0; 16]).await.map(drop),
        Step::Repeat(bytes) => {
            let bytes = chunk(&bytes);
            loop {
                socket.write_all(&bytes).await?;
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

async fn read_request(socket: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let body_end = end + 4 + length.unwrap_or(0);
            if bytes.len() >= body_end {
                let body = serde_json::from_slice(&bytes[end + 4..body_end]).unwrap_or_default();
                return Ok(Some(Request { head, body }));
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

pub const KEY: &str = "sk-very-secret";

/// Settings that lead to `upstream`.
pub fn config(upstream: &Upstream) -> ProviderConfig {
    ProviderConfig {
        base_url: upstream.base_url(),
        api_key: Some(SecretString::from(KEY)),
        model: "test-model".to_owned(),
        ..ProviderConfig::default()
    }
}

pub fn provider(upstream: &Upstream) -> OpenAi {
    OpenAi::new(&config(upstream)).unwrap()
}

/// A whole answer that is no stream; `headers` end in a line break each.
pub fn answers(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Raw(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes())]
}
