//! Records shared by both sides.
#![no_std]
