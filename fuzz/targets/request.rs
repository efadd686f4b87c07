//! What a client says on the service's socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::service::{
    protocol::{LONGEST, parse},
    socket,
};
use tokio::{io::AsyncWriteExt, net::UnixStream};

fuzz_target!(|bytes: &[u8]| {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let direct = parse(line);
    if let Ok(request) = &direct {
        let text = serde_json::to_vec(request).expect("JSON");
        assert_eq!(parse(&text).as_ref(), Ok(request));
    }
    if bytes.len() >= LONGEST {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.expect("a runtime").block_on(async {
        let (mut service, mut client) = UnixStream::pair().expect("a pair");
        client.write_all(bytes).await.expect("room");
        drop(client);
        socket::request(&mut service).await
    });
    let whole = bytes.contains(&b'\n');
    assert_eq!(asked.is_ok(), whole && direct.is_ok());
});
