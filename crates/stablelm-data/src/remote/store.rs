//! Object stores: Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.
//!
//! The crate `object_store` signs requests and reads listings; the requests themselves, and their
//! retries, are ours.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind,
    HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use reqwest::{Method, Request, Url};

use super::address::{Bucket, KeyPattern, Vendor, is_pattern};
use super::error::StoreError;
use super::patience::{Fault, GaveUp, Hope, Patience};
use super::transport::{Ask, Transport};
use super::web::bare_etag;
use super::{RemoteError, RemoteFile, RemoteOptions, TransferError};

/// Every bucket that was asked for so far.
#[derive(Debug)]
pub(super) struct Stores {
    settings: Vec<(String, String)>,
    transport: Arc<Transport>,
    open: Mutex<BTreeMap<Bucket, Arc<dyn ObjectStore>>>,
}

/// An object that is being read.
#[derive(Debug)]
pub(super) struct StoreFile {
    store: Arc<dyn ObjectStore>,
    key: Key,
    file: RemoteFile,
}

impl Stores {
    pub(super) fn new(options: &RemoteOptions, transport: Arc<Transport>) -> Self {
        let settings = options.store_options.iter();
        Self {
            settings: settings
                .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
                .collect(),
            transport,
            open: Mutex::default(),
        }
    }

    /// Lists the objects that match a key, which may be a pattern.
    pub(super) async fn expand(
        &self,
        text: &str,
        bucket: &Bucket,
        key: &str,
    ) -> Result<Vec<RemoteFile>, RemoteError> {
        let store = self.open(text, bucket).await?;
        let file = |meta: ObjectMeta| RemoteFile {
            url: format!("{bucket}/{}", meta.location),
            size: meta.size,
            etag: meta.e_tag.as_deref().map(bare_etag),
            sha256: None,
        };
        if !is_pattern(key) {
            let meta = store.head(&parse_key(text, key)?).await;
            return Ok(vec![file(
                meta.map_err(|error| listing_error(text, error))?,
            )]);
        }
        let pattern = KeyPattern::parse(text, key)?;
        let folder = parse_key(text, &pattern.folder)?;
        let folder = (!pattern.folder.is_empty()).then_some(&folder);
        let found: Result<Vec<ObjectMeta>, _> = if pattern.is_deep {
            let matches = store
                .list(folder)
                .try_filter(|meta| std::future::ready(pattern.matches(meta.location.as_ref())));
            matches.try_collect().await
        } else {
            let listed = store.list_with_delimiter(folder).await;
            listed.map(|listed| {
                let objects = listed.objects.into_iter();
                objects
                    .filter(|meta| pattern.matches(meta.location.as_ref()))
                    .collect()
            })
        };
        let found = found.map_err(|error| listing_error(text, error))?;
        Ok(found.into_iter().map(file).collect())
    }

    /// An object, to be read.
    pub(super) async fn file(
        &self,
        file: &RemoteFile,
        bucket: &Bucket,
        key: &str,
    ) -> Result<StoreFile, RemoteError> {
        Ok(StoreFile {
            store: self.open(&file.url, bucket).await?,
            key: parse_key(&file.url, key)?,
            file: file.clone(),
        })
    }

    async fn open(&self, text: &str, bucket: &Bucket) -> Result<Arc<dyn ObjectStore>, RemoteError> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = lock().get(bucket) {
            return Ok(Arc::clone(store));
        }
        let store = match bucket.vendor {
            Vendor::Aws => self.aws(bucket).await,
            Vendor::Google => self.google(bucket),
            Vendor::Azure => self.azure(bucket),
        };
        let store = store.map_err(|error| RemoteError::Store {
            url: text.to_owned(),
            source: error.into(),
        })?;
        lock().insert(bucket.clone(), Arc::clone(&store));
        Ok(store)
    }

    async fn aws(&self, bucket: &Bucket) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket.name)
            .with_retry(no_retry())
            .with_http_connector(self.connector());
        for (key, value) in &self.settings {
            if let Ok(key) = key.parse::<AmazonS3ConfigKey>()
                && !matches!(key, AmazonS3ConfigKey::Bucket)
            {
                builder = builder.with_config(key, value);
            }
        }
        let is_set = |key| builder.get_config_value(&key).is_some();
        let knows_where = is_set(AmazonS3ConfigKey::Region)
            || is_set(AmazonS3ConfigKey::DefaultRegion)
            || is_set(AmazonS3ConfigKey::Endpoint)
            || is_set(AmazonS3ConfigKey::S3Endpoint);
        if !knows_where && let Some(region) = self.region(&bucket.name).await {
            builder = builder.with_region(region);
        }
        Ok(Arc::new(builder.build()?))
    }

    fn google(&self, bucket: &Bucket) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&bucket.name)
            .with_retry(no_retry())
            .with_http_connector(self.connector());
        for (key, value) in &self.settings {
            if let Ok(key) = key.parse::<GoogleConfigKey>()
                && !matches!(key, GoogleConfigKey::Bucket)
            {
                builder = builder.with_config(key, value);
            }
        }
        Ok(Arc::new(builder.build()?))
    }

    fn azure(&self, bucket: &Bucket) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_retry(no_retry())
            .with_http_connector(self.connector());
        for (key, value) in &self.settings {
            if let Ok(key) = key.parse::<AzureConfigKey>()
                && !matches!(key, AzureConfigKey::ContainerName)
            {
                builder = builder.with_config(key, value);
            }
        }
        // The address may name the account too, and then it is right.
        Ok(Arc::new(builder.with_url(format!("{bucket}/")).build()?))
    }

    /// Asks S3 which region a bucket is in; nobody needs to be known for that.
    async fn region(&self, bucket: &str) -> Option<String> {
        // The certificate holds for one label before the domain.
        let url = if bucket.contains('.') {
            format!("https://s3.amazonaws.com/{bucket}")
        } else {
            format!("https://{bucket}.s3.amazonaws.com")
        };
        let ask = Ask {
            method: Method::HEAD,
            ..Ask::get(Url::parse(&url).ok()?)
        };
        let request = Request::new(ask.method, ask.url);
        let response = self.transport.send(request).await.ok()?;
        let region = response.headers().get("x-amz-bucket-region")?;
        region.to_str().ok().map(str::to_owned)
    }

    fn connector(&self) -> Connector {
        Connector(Arc::clone(&self.transport))
    }
}

impl StoreFile {
    /// Reads one range.
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, RemoteError> {
        let byte = range.start;
        let expected = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.file.etag.as_ref().map(|etag| format!("\"{etag}\"")),
            ..GetOptions::default()
        };
        let failed = |error| fetch_error(&self.file, byte, error);
        let got = self
            .store
            .get_opts(&self.key, options)
            .await
            .map_err(failed)?;
        if got.meta.size != self.file.size {
            return Err(RemoteError::Size {
                url: self.file.url.clone(),
                expected: self.file.size,
                found: got.meta.size,
            });
        }
        let found = got.meta.e_tag.as_deref().map(bare_etag);
        if let (Some(expected), Some(found)) = (&self.file.etag, found)
            && *expected != found
        {
            return Err(RemoteError::Changed {
                url: self.file.url.clone(),
                expected: expected.clone(),
                found,
            });
        }
        let bytes = got.bytes().await.map_err(failed)?;
        let found = bytes.len() as u64;
        if found != expected {
            return Err(RemoteError::Fetch {
                url: self.file.url.clone(),
                byte,
                tries: 1,
                source: TransferError::TooShort { expected, found },
            });
        }
        Ok(bytes.into())
    }
}

fn parse_key(text: &str, key: &str) -> Result<Key, RemoteError> {
    Key::parse(key).map_err(|_| RemoteError::Address {
        url: text.to_owned(),
        what: "the key has an empty, relative or unprintable part",
    })
}

fn listing_error(text: &str, error: object_store::Error) -> RemoteError {
    let url = text.to_owned();
    let tries = tries(&error);
    match common_error(&url, error) {
        Ok(error) => error,
        // A listing has no object that could be missing.
        Err(source) if source.to_string().contains("404 Not Found") => RemoteError::NotFound {
            url,
            what: "bucket",
        },
        Err(source) => RemoteError::List {
            url,
            tries,
            source: TransferError::Store(source),
        },
    }
}

fn fetch_error(file: &RemoteFile, byte: u64, error: object_store::Error) -> RemoteError {
    let url = file.url.clone();
    let tries = tries(&error);
    if let object_store::Error::Precondition { .. } = error {
        return RemoteError::Changed {
            url,
            expected: file.etag.clone().unwrap_or_default(),
            found: "another one".to_owned(),
        };
    }
    common_error(&url, error).unwrap_or_else(|source| RemoteError::Fetch {
        url,
        byte,
        tries,
        source: TransferError::Store(source),
    })
}

/// What an error means whatever was asked for, or the error itself.
fn common_error(url: &str, error: object_store::Error) -> Result<RemoteError, StoreError> {
    let url = url.to_owned();
    let is_denied = match &error {
        object_store::Error::NotFound { .. } => {
            return Ok(RemoteError::NotFound {
                url,
                what: "bucket or file",
            });
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => true,
        _ => false,
    };
    let source = StoreError::from(error);
    let text = source.to_string();
    // The last place where a store's client looks for credentials is the machine it runs on.
    if text.contains("http://169.254.") || text.contains("http://metadata") {
        return Ok(RemoteError::NoCredentials { url, source });
    }
    if is_denied {
        let source = TransferError::Store(source);
        return Ok(RemoteError::Denied { url, source });
    }
    Err(source)
}

/// The tries that lie behind an error, as our own retries counted them.
fn tries(error: &(dyn Error + 'static)) -> u32 {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(gave_up) = error.downcast_ref::<GaveUp>() {
            return gave_up.tries;
        }
        cause = error.source();
    }
    1
}

/// Retries are the transport's.
fn no_retry() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// Lets a store's client send its requests by our transport.
#[derive(Debug)]
struct Connector(Arc<Transport>);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        Ok(HttpClient::new(Service {
            transport: Arc::clone(&self.0),
            allow_http: allow_http.as_deref() == Some("true"),
        }))
    }
}

#[derive(Debug)]
struct Service {
    transport: Arc<Transport>,
    allow_http: bool,
}

/// Where machines in a cloud ask for their own credentials.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

impl HttpService for Service {
    // As the macro `async_trait` writes it.
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(self.exchange(request))
    }
}

impl Service {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        if url.scheme() == "http" && !self.allow_http {
            return Err(http_error(1, TransferError::PlainHttp));
        }
        let is_metadata = is_metadata(&url);
        let mut patience = Patience::new(&self.transport.options);
        loop {
            let mut sent = Request::new(request.method().clone(), url.clone());
            sent.headers_mut().clone_from(request.headers());
            if let Some(body) = request.body().as_bytes()
                && !body.is_empty()
            {
                *sent.body_mut() = Some(body.clone().into());
            }
            let exchange = async { self.transport.read(self.transport.send(sent).await?).await };
            let reply = if is_metadata {
                let limit = METADATA_TIMEOUT;
                let reply = tokio::time::timeout(limit, exchange).await;
                let reply = reply.map_err(|_| Fault::passing(TransferError::TimedOut { limit }));
                reply.flatten().map_err(|fault| Fault {
                    hope: Hope::None,
                    ..fault
                })
            } else {
                exchange.await
            };
            match reply {
                Ok(reply) => {
                    let mut response = HttpResponse::new(HttpResponseBody::from(reply.body));
                    *response.status_mut() = reply.status;
                    *response.headers_mut() = reply.headers;
                    return Ok(response);
                }
                Err(fault) => {
                    let gave_up = patience.wait(fault).await;
                    gave_up.map_err(|gave_up| http_error(gave_up.tries, gave_up.cause))?;
                }
            }
        }
    }
}

/// Hosts that answer at once or are not there.
fn is_metadata(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.starts_with("169.254.") || host.starts_with("[fd00:ec2:") || host.starts_with("metadata")
}

fn http_error(tries: u32, cause: TransferError) -> HttpError {
    let kind = match cause {
        TransferError::TimedOut { .. } => HttpErrorKind::Timeout,
        TransferError::Connection(_) => HttpErrorKind::Connect,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, GaveUp { tries, cause })
}
