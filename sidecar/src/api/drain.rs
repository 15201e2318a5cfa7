//! A request body that is read to its end for a while after nobody wants it any more: a client that is still sending would
//! otherwise have its connection reset and lose the answer that says why its rows were refused.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use futures::{Stream, StreamExt};

/// What is read and thrown away at most, in bytes and in time.
const MOST_BYTES: usize = 256 << 20;
const MOST_TIME: Duration = Duration::from_secs(10);

/// A body whose rest is drained when it is dropped.
pub(super) struct DrainedBody {
    /// `None` once the body has ended.
    rest: Option<BodyDataStream>,
    announced: u64,
}

impl DrainedBody {
    /// The length that the client gave in advance; 0 where it gave none.
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }
}

impl From<Body> for DrainedBody {
    fn from(body: Body) -> Self {
        Self {
            announced: body.size_hint().lower(),
            rest: Some(body.into_data_stream()),
        }
    }
}

impl Stream for DrainedBody {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let chunk = ready!(body.poll_next_unpin(context));
        // After an error there is nothing left to drain either.
        if !matches!(chunk, Some(Ok(_))) {
            self.rest = None;
        }
        Poll::Ready(chunk)
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let Some(mut body) = self.rest.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let drained = async {
                let mut bytes = 0;
                while let Some(Ok(chunk)) = body.next().await {
                    bytes += chunk.len();
                    if bytes > MOST_BYTES {
                        break;
                    }
                }
            };
            // A client that is slower than this loses the answer.
            let _ = tokio::time::timeout(MOST_TIME, drained).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_rest_of_a_dropped_body_is_read() {
        let sent = Arc::new(AtomicUsize::new(0));
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        let counted = sent.clone();
        let chunks = futures::stream::iter(0..100).map(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from_static(b"rows"))
        });
        // Dropped together with the stream's end.
        let chunks = chunks.chain(futures::stream::once(async move {
            drop(done);
            Ok(Bytes::new())
        }));
        let mut body = DrainedBody::from(Body::from_stream(chunks));
        body.next().await.unwrap().unwrap();
        assert_eq!(sent.load(Ordering::SeqCst), 1);
        drop(body);
        ended.await.unwrap_err();
        assert_eq!(sent.load(Ordering::SeqCst), 100);
    }
}
