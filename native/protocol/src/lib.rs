//! netd protocol
