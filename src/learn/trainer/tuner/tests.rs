use super::*;
use crate::loss::Loss;
use crate::net::Part;
use pollster::block_on;

fn recipe(part: Part) -> Recipe {
    Recipe {
        part,
        statistics: Statistics::Frozen,
        loss: Loss::FBeta {
            beta: 1.5,
            smooth: 1.0,
        },
        guard: 1.0,
        lesion_weight: 4.0,
        lesion_decay: 3,
        dropout: 0.1,
        steps: 10,
        learning_rate: 1e-2,
        warmup: 0,
        final_rate: 0.1,
        weight_decay: 1e-4,
        clip: 1.0,
        average: 0.9,
        keep: true,
        seed: 1,
    }
}

fn patch(seed: usize) -> Patch {
    let n = 512;
    Patch {
        image: (0..2 * n)
            .map(|i| ((i + seed) * 7919 % 2003) as f32 / 500.0 - 2.0)
            .collect(),
        label: (0..n)
            .map(|i| f32::from(u8::from((i + seed).is_multiple_of(9))))
            .collect(),
        side: 8,
    }
}

fn begun(recipe: &Recipe) -> Tuner {
    let config = NetConfig::preset("toy", 2).unwrap();
    let file = weights::to_bytes(&DenseNet::new(&config, 2, &Device::flex()).unwrap()).unwrap();
    let mut tuner = Tuner::new(Engine::cpu());
    let json = serde_json::to_string(&config).unwrap();
    block_on(tuner.begin(7, &json, &file, recipe, None)).unwrap();
    tuner
}

/// Names of the modules at the top are enough: which tensors moved.
fn moved(tuner: &Tuner, before: &[Vec<f32>]) -> Vec<bool> {
    numbers(tuner).iter().zip(before).map(|(a, b)| a != b).collect()
}

fn numbers(tuner: &Tuner) -> Vec<Vec<f32>> {
    flat::read(&tuner.run.as_ref().unwrap().net)
        .into_iter()
        .map(|t| block_on(flat::host(t)).unwrap())
        .collect()
}

#[test]
fn no_gradient_exists_below_the_part_that_learns() {
    let mut counts = Vec::new();
    for part in [Part::Head, Part::Decoder, Part::Everything] {
        let mut tuner = begun(&recipe(part));
        let before = numbers(&tuner);
        let run = tuner.run.as_ref().unwrap();
        let learns = flat::learning(&run.net);
        // What the backward pass computes at all.
        let device = Device::flex().autodiff();
        let image = TensorData::new(patch(0).image, [1, 2, 8, 8, 8]);
        let logits = run
            .net
            .forward(Tensor::from_data(image, &device), run.recipe.mode(0));
        let grads = GradientsParams::from_grads(logits.square().mean().backward(), &run.net);
        assert_eq!(grads.len(), learns.iter().filter(|l| **l).count(), "{part:?}");
        counts.push(grads.len());
        block_on(tuner.step(0, &patch(0))).unwrap();
        for ((moved, learns), old) in moved(&tuner, &before).into_iter().zip(learns).zip(&before) {
            assert!(
                learns || !moved,
                "{part:?}: a frozen tensor of {} moved",
                old.len()
            );
        }
    }
    assert!(counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
    // Doubling and its bias, and the logit.
    assert_eq!(counts[0], 3);
}

#[test]
fn a_snapshot_goes_on_to_the_bit() {
    for (part, statistics) in [
        (Part::Decoder, Statistics::Frozen),
        (Part::Everything, Statistics::Adapted),
    ] {
        let recipe = Recipe {
            statistics,
            ..recipe(part)
        };
        let mut straight = begun(&recipe);
        for step in 0..3 {
            block_on(straight.step(step, &patch(step as usize))).unwrap();
        }
        let taken = block_on(straight.snapshot()).unwrap();
        let run = straight.run.as_ref().unwrap();
        let json = serde_json::to_string(&run.config).unwrap();
        let base = weights::to_bytes(&DenseNet::new(&run.config, 2, &Device::flex()).unwrap()).unwrap();
        let mut other = Tuner::new(Engine::cpu());
        block_on(other.begin(7, &json, &base, &recipe, Some(&taken))).unwrap();
        assert_eq!(other.held(), straight.held());
        for step in 3..6 {
            let expected = block_on(straight.step(step, &patch(step as usize))).unwrap();
            assert_eq!(
                block_on(other.step(step, &patch(step as usize))).unwrap(),
                expected
            );
            // A step asked for again is answered again and not made again.
            assert_eq!(
                block_on(other.step(step, &patch(step as usize))).unwrap(),
                expected
            );
        }
        assert!(numbers(&other) == numbers(&straight));
        assert!(block_on(other.publish()).unwrap() == block_on(straight.publish()).unwrap());
        // Another run's, a damaged one, one for another recipe.
        let mut begin =
            |run, bytes: &[u8], recipe| block_on(other.begin(run, &json, &base, recipe, Some(bytes)));
        assert!(begin(8, &taken, &recipe).is_err());
        assert!(begin(7, &taken[..taken.len() - 1], &recipe).is_err());
        let head = self::recipe(Part::Head);
        assert!(begin(7, &taken, &head).is_err());
    }
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut tuner = begun(&recipe(Part::Everything));
    let before = numbers(&tuner);
    let mut nan = patch(0);
    nan.image.fill(f32::NAN);
    assert!(matches!(
        block_on(tuner.step(0, &nan)),
        Err(TunerError::Diverged { step: 0, .. })
    ));
    let mut short = patch(0);
    short.label.pop();
    assert!(matches!(
        block_on(tuner.step(0, &short)),
        Err(TunerError::Patch { .. })
    ));
    assert!(matches!(
        block_on(tuner.step(4, &patch(0))),
        Err(TunerError::Order { asked: 4, done: 0 })
    ));
    assert!(numbers(&tuner) == before);
    assert!(matches!(
        block_on(Tuner::new(Engine::cpu()).step(0, &patch(0))),
        Err(TunerError::NotBegun)
    ));
}

#[test]
#[cfg(feature = "gpu")]
fn a_step_is_few_launches() {
    use crate::net::Norm;
    use crate::net::kernels::cube::LAUNCHES;
    let Ok(engine) = block_on(Engine::gpu()) else {
        eprintln!("skipped: no GPU adapter");
        return;
    };
    let config = NetConfig {
        norm: Norm::Instance,
        ..NetConfig::preset("light", 2).unwrap()
    };
    let file = weights::to_bytes(&DenseNet::new(&config, 2, &Device::flex()).unwrap()).unwrap();
    let recipe = Recipe {
        dropout: 0.0,
        ..recipe(Part::Everything)
    };
    let mut tuner = Tuner::new(engine);
    let json = serde_json::to_string(&config).unwrap();
    block_on(tuner.begin(7, &json, &file, &recipe, None)).unwrap();
    let side = config.side_multiple();
    let n = side.pow(3);
    let patch = Patch {
        image: (0..2 * n)
            .map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0)
            .collect(),
        label: (0..n).map(|i| f32::from(u8::from(i % 9 == 0))).collect(),
        side,
    };
    for step in 0..2 {
        let before = LAUNCHES.get();
        block_on(tuner.step(step, &patch)).unwrap();
        // Of kernels of ours; burn's own add a hundred for the loss and what joins the blocks.
        assert_eq!(LAUNCHES.get() - before, 910, "step {step}");
    }
}
