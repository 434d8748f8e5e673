//! Metrics, rules, dashboards, runbooks: that they are one thing, that they hold on a running stack, and that a fault reaches
//! whoever must mend it.

mod cardinality;
mod consistency;
mod dashboards;
mod faults;
mod live;
mod objectives;
mod promql;
mod rules;
mod runbooks;
mod stack;
