//! The filter's side of Proxy-Wasm: the only user of `proxy_wasm`.
//!
//! The SDK gives the dispatcher, the traits and the exported callbacks; host calls are this
//! module's own, because the SDK's panic on statuses that a proxy may well return. Callbacks hand
//! over to [`crate::filter`] or [`crate::connection`] at once.

#[cfg(egress_fault)]
mod fault;
mod hostcalls;
mod http;
mod logger;
mod metrics;
mod proxy;
mod root;
mod tcp;

proxy_wasm::main! {{
    logger::install();
    proxy_wasm::set_root_context(|_context_id| {
        #[cfg(egress_fault)]
        fault::strike(fault::Callback::RootContextCreate);
        Box::<root::Root>::default()
    });
}}
