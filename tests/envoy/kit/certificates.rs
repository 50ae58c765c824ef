//! Certificates of a mesh: an authority, the gateway's server certificate, and callers with a
//! SPIFFE id.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SanType,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};

/// A certificate authority that both the gateway and its callers trust.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    server_names: Vec<String>,
}

/// A certificate and its key.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new authority, whose server certificate is valid for `server_names`.
    pub fn new(server_names: &[&str]) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "mesh authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let server_names = server_names.iter().map(ToString::to_string).collect();
        Ok(Self { issuer, server_names })
    }

    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// The gateway's certificate.
    pub fn server(&self) -> Result<Identity> {
        self.issue(CertificateParams::new(self.server_names.clone())?)
    }

    /// A caller's certificate, with `spiffe_id` (`spiffe://…`) as its only name.
    pub fn caller(&self, spiffe_id: &str) -> Result<Identity> {
        self.caller_of_uris(&[spiffe_id])
    }

    /// A caller's certificate with these names.
    pub fn caller_of_uris(&self, uris: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new())?;
        let name = |uri: &&str| Ok(SanType::URI((*uri).try_into().context("a URI is ASCII")?));
        params.subject_alt_names = uris.iter().map(name).collect::<Result<_>>()?;
        self.issue(params)
    }

    /// What a caller needs to connect: trust in this authority, and its own certificate where it
    /// has one.
    pub fn client(&self, caller: Option<&Identity>, protocol: &str) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match caller {
            Some(caller) => {
                config.with_client_auth_cert(vec![caller.chain()], caller.private_key())?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }

    /// What a service needs to show its certificate, over HTTP/2 and HTTP/1.1.
    pub fn service(&self) -> Result<Arc<ServerConfig>> {
        let identity = self.server()?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![identity.chain()], identity.private_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Identity> {
        // As in a mesh. Not rcgen's default name either, which would be the issuer's: such a
        // certificate is self-signed.
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate, key })
    }
}

impl Identity {
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    fn chain(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}
