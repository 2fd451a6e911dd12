//! What the C library does with memory that was freed.

/// Keeps freed memory in the process, whatever its size, from now on.
///
/// Networks of library layers make each layer's output anew. The GNU C library takes blocks of that size from the system
/// and gives them back at once, so that every page of every output is cleared by the system again: half of the time of an
/// Enformer step at 20 kb (docs/benchmark.md, "Time"). Other C libraries are left as they are.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt sets two numbers under the allocator's own lock, at any time and from any thread; it takes no pointers.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1); // never
    }
}
