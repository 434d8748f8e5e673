//! The one provider of cryptography for TLS.

/// Has rustls use ring, also in clients that libraries build (`reqwest` without a provider panics). Once is enough, more do
/// no harm.
pub(crate) fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
