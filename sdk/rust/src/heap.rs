//! The memory allocator of plugins: made for an instance that lives for one call.
//!
//! Most calls take memory, hand little back, and end. Here taking is moving a pointer, from a piece of memory that the
//! instance has from the start, so that a call which needs little asks the host for none and touches few pages. What is
//! handed back is kept by size and taken again, so that a call which churns stays as large as the most that it held at
//! once in each size: memory never goes back to the host, and sizes are not merged.
//!
//! This and the generated bindings are the only unsafe code of this crate. Nothing here may allocate or panic.

use std::alloc::Layout;
use std::ptr::NonNull;

/// Where memory comes from.
pub(crate) trait Source {
    /// At least `bytes` bytes that nobody uses, aligned to [`GRAIN`], with their number; `None` where there are no more.
    fn more(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)>;
}

/// Every block begins at a multiple of this, and no block is smaller: it holds a link while it is free.
pub(crate) const GRAIN: usize = 16;

/// Up to here there is a size for every grain; above, four for each power of two.
const FINE: usize = 256;

const FINE_CLASSES: usize = FINE / GRAIN;

/// The powers of two above [`FINE`], up to half of the address space of wasm32.
const CLASSES: usize = FINE_CLASSES + 4 * 23;

/// A free block: it holds the next one of its size.
type Link = Option<NonNull<u8>>;

/// The allocator's state, over one source.
pub(crate) struct Heap<S> {
    free: [Link; CLASSES],
    /// The memory that was never used lies from here to `end`. Null until there is some.
    next: *mut u8,
    end: *mut u8,
    source: S,
}

/// The class of a size, and the size that blocks of this class have; `None` for what no address space holds.
fn class(size: usize) -> Option<(usize, usize)> {
    if size <= FINE {
        let grains = size.max(1).div_ceil(GRAIN);
        return Some((grains - 1, grains * GRAIN));
    }
    // Above 2^power, up to 2^(power + 1), in quarters.
    let power = (size - 1).ilog2();
    let quarter = 1_usize << (power - 2);
    let above = size - (1 << power);
    let quarters = above.div_ceil(quarter);
    let index = FINE_CLASSES + (power as usize - FINE.ilog2() as usize) * 4 + quarters - 1;
    (index < CLASSES).then(|| (index, (1 << power) + quarters * quarter))
}

impl<S: Source> Heap<S> {
    pub(crate) const fn new(source: S) -> Self {
        Heap { free: [None; CLASSES], next: std::ptr::null_mut(), end: std::ptr::null_mut(), source }
    }

    /// A block for this layout, or null.
    pub(crate) fn take(&mut self, layout: Layout) -> *mut u8 {
        let Some((class, size)) = class(layout.size()) else { return std::ptr::null_mut() };
        let found = if layout.align() <= GRAIN {
            self.free[class].inspect(|block| {
                // SAFETY: a free block begins with its link, which `give` wrote.
                self.free[class] = unsafe { block.cast::<Link>().read() };
            })
        } else {
            self.take_aligned(class, layout.align())
        };
        match found {
            Some(block) => block.as_ptr(),
            None => self.take_fresh(size, layout.align()),
        }
    }

    /// Looks for a free block that happens to lie right: rare enough to go through the list.
    fn take_aligned(&mut self, class: usize, align: usize) -> Link {
        let mut link: *mut Link = &mut self.free[class];
        // SAFETY: `link` is the head of the list or the link at the beginning of a block in it.
        while let Some(block) = unsafe { link.read() } {
            let next = block.as_ptr().cast::<Link>();
            if block.as_ptr().addr().is_multiple_of(align) {
                // SAFETY: as above; the block leaves the list.
                unsafe { link.write(next.read()) };
                return Some(block);
            }
            link = next;
        }
        None
    }

    fn take_fresh(&mut self, size: usize, align: usize) -> *mut u8 {
        loop {
            let padding = self.next.addr().wrapping_neg() & (align.max(GRAIN) - 1);
            let left = self.end.addr() - self.next.addr();
            if let Some(needed) = size.checked_add(padding)
                && needed <= left
                && !self.next.is_null()
            {
                // SAFETY: so many bytes are left between `next` and `end`, which lie in one piece of memory.
                let block = unsafe { self.next.add(padding) };
                // SAFETY: as above.
                self.next = unsafe { block.add(size) };
                return block;
            }
            let Some(wanted) = size.checked_add(align) else { return std::ptr::null_mut() };
            let Some((start, length)) = self.source.more(wanted) else { return std::ptr::null_mut() };
            // SAFETY: the source says that so many bytes begin there.
            let end = unsafe { start.as_ptr().add(length) };
            // What follows on the memory that is left is one piece with it.
            if self.end != start.as_ptr() {
                self.next = start.as_ptr();
            }
            self.end = end;
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` came from this heap for this layout and is used by nobody.
    pub(crate) unsafe fn give(&mut self, block: *mut u8, layout: Layout) {
        let (Some((class, size)), Some(free)) = (class(layout.size()), NonNull::new(block)) else { return };
        if block.wrapping_add(size) == self.next {
            self.next = block;
            return;
        }
        // SAFETY: the block is at least a link long and aligned for one, and it is the caller's to give.
        unsafe { free.cast::<Link>().write(self.free[class]) };
        self.free[class] = Some(free);
    }

    /// Makes a block longer or shorter, in place where that is possible.
    ///
    /// # Safety
    /// As for [`give`](Self::give); after it the block is the one that is returned, unless that is null.
    pub(crate) unsafe fn resize(&mut self, block: *mut u8, layout: Layout, wanted: usize) -> *mut u8 {
        let (Some((old_class, old)), Some((new_class, new))) = (class(layout.size()), class(wanted)) else {
            return std::ptr::null_mut();
        };
        if old_class == new_class {
            return block;
        }
        if block.wrapping_add(old) == self.next && new <= self.end.addr() - block.addr() {
            self.next = block.wrapping_add(new);
            return block;
        }
        let Ok(new_layout) = Layout::from_size_align(wanted, layout.align()) else {
            return std::ptr::null_mut();
        };
        let moved = self.take(new_layout);
        if !moved.is_null() {
            // SAFETY: both blocks are at least so long, and a block that is in use is not taken again.
            unsafe { std::ptr::copy_nonoverlapping(block, moved, layout.size().min(wanted)) };
            // SAFETY: the caller's promise.
            unsafe { self.give(block, layout) };
        }
        moved
    }
}

/// The heap of an instance.
#[cfg(target_arch = "wasm32")]
mod instance {
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::UnsafeCell;
    use std::ptr::NonNull;

    use super::{GRAIN, Heap, Source};

    /// What an instance has from the start: enough for a call with some ten kilobytes of JSON.
    const START: usize = 64 << 10;

    const PAGE: usize = 64 << 10;

    #[repr(align(16))]
    struct Start(UnsafeCell<[u8; START]>);

    // SAFETY: wasm32 without the feature `atomics` has one thread.
    unsafe impl Sync for Start {}

    /// Zeros, which take no room in the component.
    static FIRST: Start = Start(UnsafeCell::new([0; START]));

    struct Memory {
        started: bool,
    }

    impl Source for Memory {
        fn more(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
            if !self.started {
                self.started = true;
                if bytes <= START {
                    return NonNull::new(FIRST.0.get().cast()).map(|start| (start, START));
                }
            }
            // An eighth more each time: few requests, and little that is asked for and not needed.
            let pages = bytes.div_ceil(PAGE).max(core::arch::wasm32::memory_size(0) / 8).max(1);
            let before = core::arch::wasm32::memory_grow(0, pages);
            let start = NonNull::new((before != usize::MAX).then(|| before * PAGE)? as *mut u8)?;
            Some((start, pages * PAGE))
        }
    }

    struct Instance(UnsafeCell<Heap<Memory>>);

    // SAFETY: wasm32 without the feature `atomics` has one thread.
    unsafe impl Sync for Instance {}

    // SAFETY: blocks are as long and aligned as asked for (every one to GRAIN at least), and in use once only. No method
    // calls another one of the allocator, so that there is never more than one reference to the heap.
    unsafe impl GlobalAlloc for Instance {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            unsafe { &mut *self.0.get() }.take(layout)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            unsafe { (*self.0.get()).give(block, layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, wanted: usize) -> *mut u8 {
            unsafe { (*self.0.get()).resize(block, layout, wanted) }
        }
    }

    const _: () = assert!(GRAIN == align_of::<Start>());

    #[global_allocator]
    static HEAP: Instance = Instance(UnsafeCell::new(Heap::new(Memory { started: false })));
}

#[cfg(test)]
mod tests {
    use std::alloc::Layout;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Pieces of memory of a fixed size, some of which follow on one another.
    struct Pieces {
        room: Vec<u128>,
        used: usize,
        piece: usize,
        gap: usize,
    }

    impl Pieces {
        fn new(bytes: usize, piece: usize, gap: usize) -> Pieces {
            Pieces { room: vec![0; bytes / GRAIN], used: 0, piece, gap }
        }
    }

    impl Source for Pieces {
        fn more(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
            let length = bytes.div_ceil(self.piece) * self.piece;
            let start = self.used + self.gap;
            if start + length > self.room.len() * GRAIN {
                return None;
            }
            self.used = start + length;
            NonNull::new(self.room.as_mut_ptr().cast::<u8>().wrapping_add(start)).map(|start| (start, length))
        }
    }

    #[test]
    fn each_size_has_a_class_that_holds_it_and_little_more() {
        let mut previous = (0, 0);
        for size in
            (0..100_000).chain((17..31).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]))
        {
            let (index, block) = class(size).expect("an address space holds it");
            assert!(
                block >= size && block.is_multiple_of(GRAIN) && block <= size.max(64) * 5 / 4 + GRAIN,
                "{size}: {block}"
            );
            assert_eq!(class(block), Some((index, block)), "a block's own size is of its class");
            assert!((index, block) >= previous);
            previous = (index, block);
        }
        assert_eq!(class(usize::MAX), None);
        assert_eq!(class(1 << 32), None);
    }

    #[test]
    fn a_block_at_the_end_grows_where_it_is() {
        let mut heap = Heap::new(Pieces::new(1 << 16, 1 << 16, 0));
        let byte = |size| Layout::from_size_align(size, 1).expect("a layout");
        let block = heap.take(byte(10));
        let mut size = 10;
        while size < 40_000 {
            // SAFETY: the block is this heap's, with this layout.
            assert_eq!(unsafe { heap.resize(block, byte(size), size * 2) }, block);
            size *= 2;
        }
        // SAFETY: as above.
        unsafe { heap.give(block, byte(size)) };
        assert_eq!(heap.take(byte(60_000)), block, "all of it is there again");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_rest_goes_on() {
        let mut heap = Heap::new(Pieces::new(1 << 16, 1 << 12, 0));
        let layout = |size, align| Layout::from_size_align(size, align).expect("a layout");
        assert!(heap.take(layout(1 << 17, 1)).is_null());
        assert!(heap.take(layout(isize::MAX as usize - 15, 16)).is_null());
        let block = heap.take(layout(100, 4096));
        assert!(!block.is_null() && block.addr().is_multiple_of(4096));
        // SAFETY: the block is this heap's, with this layout.
        assert!(unsafe { heap.resize(block, layout(100, 4096), 1 << 20) }.is_null());
        // SAFETY: as above: a refused resize leaves the block.
        unsafe { heap.give(block, layout(100, 4096)) };
    }

    #[test]
    fn a_call_that_churns_stays_small() {
        for align in [1, 64] {
            let mut heap = Heap::new(Pieces::new(1 << 20, 1 << 12, 0));
            let mut held = VecDeque::new();
            for turn in 0..100_000_usize {
                let layout = Layout::from_size_align(1 + turn * 7 % 1000, align).expect("a layout");
                let block = heap.take(layout);
                assert!(!block.is_null(), "turn {turn}, aligned to {align}");
                held.push_back((block, layout));
                if held.len() > 100 {
                    let (block, layout) = held.pop_front().expect("a hundred");
                    // SAFETY: the block is this heap's, with this layout.
                    unsafe { heap.give(block, layout) };
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take { size: usize, align: usize },
        Give(usize),
        Resize(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = || prop_oneof![4 => 1_usize..300, 1 => 1_usize..20_000];
        prop_oneof![
            3 => (size(), 0_u32..9).prop_map(|(size, power)| Step::Take { size, align: 1 << power }),
            2 => any::<usize>().prop_map(Step::Give),
            2 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Resize(which, size)),
        ]
    }

    proptest! {
        #[test]
        fn blocks_keep_what_is_in_them(steps in proptest::collection::vec(step(), 1..150), gap in 0_usize..2) {
            let mut heap = Heap::new(Pieces::new(1 << 21, 1 << 13, gap * GRAIN));
            let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
            let mark = |block: *mut u8, from: usize, to: usize, mark: u8| {
                for at in from..to {
                    // SAFETY: within the block.
                    unsafe { block.add(at).write(mark) };
                }
            };
            for (turn, step) in steps.into_iter().enumerate() {
                let own = (turn % 251) as u8;
                match step {
                    Step::Take { size, align } => {
                        let layout = Layout::from_size_align(size, align).expect("a layout");
                        let block = heap.take(layout);
                        if !block.is_null() {
                            prop_assert!(block.addr().is_multiple_of(align));
                            mark(block, 0, size, own);
                            held.push((block, layout, own));
                        }
                    }
                    Step::Give(which) if !held.is_empty() => {
                        let (block, layout, _) = held.swap_remove(which % held.len());
                        // SAFETY: the block is this heap's, with this layout.
                        unsafe { heap.give(block, layout) };
                    }
                    Step::Resize(which, size) if !held.is_empty() => {
                        let index = which % held.len();
                        let (block, layout, own) = held[index];
                        // SAFETY: as above.
                        let moved = unsafe { heap.resize(block, layout, size) };
                        if !moved.is_null() {
                            prop_assert!(moved.addr().is_multiple_of(layout.align()));
                            mark(moved, layout.size().min(size), size, own);
                            let layout = Layout::from_size_align(size, layout.align()).expect("a layout");
                            held[index] = (moved, layout, own);
                        }
                    }
                    Step::Give(_) | Step::Resize(..) => {}
                }
                for (block, layout, own) in &held {
                    for at in 0..layout.size() {
                        // SAFETY: within the block.
                        prop_assert_eq!(unsafe { block.add(at).read() }, *own);
                    }
                }
            }
        }
    }
}
