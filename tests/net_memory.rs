//! The planned memory of a pass against what is really allocated on the CPU.

use burn::tensor::{Device, Tensor, TensorData};
use equipoise::loss::Loss;
use equipoise::net::kernels::Renorm;
use equipoise::net::{DenseNet, InferNet, Mode, NetConfig, Part, Training, memory};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn more(size: usize) {
    let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: everything is the system's; only sizes are noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes allocated at any time during `work`, beyond those before.
fn peak(work: impl FnOnce()) -> f64 {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    (PEAK.load(Ordering::Relaxed) - before) as f64
}

fn patch(side: usize, device: &Device) -> Tensor<5> {
    let values = (0..2 * side.pow(3)).map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0);
    Tensor::from_data(
        TensorData::new(values.collect::<Vec<_>>(), [1, 2, side, side, side]),
        device,
    )
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn passes_take_what_was_planned() {
    // What each thread sets up once is not a pass's.
    let small = NetConfig::preset("light", 2).unwrap();
    let net = DenseNet::new(&small, 1, &Device::flex()).unwrap();
    let infer = InferNet::new(&net);
    // Often enough that every thread has had its turn, however busy the machine is.
    for _ in 0..24 {
        let _: f32 = infer
            .probabilities(patch(32, &Device::flex()))
            .sum()
            .into_scalar();
    }
    let mut wrong = Vec::new();
    let mut check = |what: String, planned: u64, real: f64| {
        let ratio = planned as f64 / real;
        println!(
            "{what}: planned {:.1} MB, took {:.1} MB, ratio {ratio:.2}",
            planned as f64 / 1e6,
            real / 1e6
        );
        // A plan may promise a little too much room, never too little.
        if !(1.0..1.3).contains(&ratio) {
            wrong.push(what);
        }
    };
    for (preset, side) in [("light", 32), ("light", 48), ("browser", 64)] {
        let config = NetConfig::preset(preset, 2).unwrap();
        let net = DenseNet::new(&config, 1, &Device::flex()).unwrap();
        let infer = InferNet::new(&net);
        let real = peak(|| {
            let p = infer.probabilities(patch(side, &Device::flex()));
            let _: f32 = p.sum().into_scalar();
        });
        let planned = memory::inference(&config, side, 1).unwrap();
        check(format!("{preset}@{side} inference"), planned, real);

        let device = Device::flex().autodiff();
        // A part that learns, by statistics that do not.
        for part in [Part::Head, Part::Decoder] {
            let net = DenseNet::new(&config, 1, &device).unwrap().train_only(part);
            for keep in [true, false] {
                let training = Training {
                    dropout: 1,
                    batch: None,
                    keep,
                };
                let real = peak(|| {
                    let labels = patch(side, &device).narrow(1, 0, 1).greater_elem(1.0).float();
                    let logits = net.forward(patch(side, &device), Mode::Train(training));
                    let _ = Loss::default().forward(logits, labels).backward();
                });
                let planned = memory::tuning(&config, side, part, keep).unwrap();
                check(format!("{preset}@{side} {part:?}, kept: {keep}"), planned, real);
            }
        }
        let net = DenseNet::new(&config, 1, &device).unwrap();
        for keep in [true, false] {
            let training = Training {
                dropout: 1,
                batch: Some(Renorm {
                    momentum: 0.1,
                    r_max: 1.0,
                    d_max: 0.0,
                }),
                keep,
            };
            let real = peak(|| {
                let labels = patch(side, &device).narrow(1, 0, 1).greater_elem(1.0).float();
                let logits = net.forward(patch(side, &device), Mode::Train(training));
                let _ = Loss::default().forward(logits, labels).backward();
            });
            let planned = memory::training(&config, side, 1, keep).unwrap();
            check(format!("{preset}@{side} step, kept: {keep}"), planned, real);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
