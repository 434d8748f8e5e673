//! Real faults, and whether the right people hear of them.
