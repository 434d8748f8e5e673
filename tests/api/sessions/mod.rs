//! Sessions and servers as a database administrator or a host configures them.

mod hostile;
mod lost;
mod poolers;
mod retries;
mod urls;
