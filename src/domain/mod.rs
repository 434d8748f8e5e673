//! Types, invariants and parent selection; no I/O and no web framework. The types are also the wire types: their serde
//! names are the column names of the specification, and utoipa's derives put their docstrings into the OpenAPI document.

pub mod archive;
pub mod artifact;
pub mod clock;
pub mod contents;
pub mod health;
pub mod identity;
pub mod improvement;
pub mod job;
pub mod json;
pub mod page;
pub mod parents;
pub mod partition;
pub mod purge;
pub mod rendered;
pub mod run;
pub mod sample;
pub mod selection;
pub mod time;
pub mod validation;
