//! The trainer on a problem that a few steps solve.

use super::*;
use crate::net::NetConfig;

/// A bright ball on noise: learnable in a few steps.
fn patch(counter: u64) -> Patch {
    let side = 8usize;
    let n = side.pow(3);
    let mut s = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let centre = [2.0 + counter as f32 % 4.0, 3.5, 2.5 + counter as f32 % 3.0];
    let label: Vec<f32> = (0..n)
        .map(|i| {
            let at = [i % side, i / side % side, i / side / side].map(|v| v as f32);
            let d2: f32 = at.iter().zip(centre).map(|(a, c)| (a - c).powi(2)).sum();
            f32::from(u8::from(d2 < 4.5))
        })
        .collect();
    let image = (0..2 * n)
        .map(|i| noise() + if i < n { 2.0 * label[i] } else { 0.0 })
        .collect();
    Patch { image, label, side }
}

fn config(steps: u64) -> TrainConfig {
    let net = NetConfig {
        dropout: 0.1,
        ..NetConfig::preset("toy", 2).unwrap()
    };
    TrainConfig {
        net,
        steps,
        // The balance of recall and precision is the loss's alone.
        guard_lesion_weight: 1.0,
        learning_rate: 1e-2,
        warmup: 5,
        freeze_from: steps * 3 / 4,
        ..TrainConfig::default()
    }
}

fn run(trainer: &mut Trainer, until: u64) -> Vec<f32> {
    (trainer.steps()..until)
        .map(|i| trainer.step(&[patch(i)]).unwrap().loss)
        .collect()
}

#[test]
fn training_learns_a_bright_ball() {
    let mut trainer = Trainer::new(config(120), &Device::flex()).unwrap();
    let losses = run(&mut trainer, 120);
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[110..]));
    assert!(last < 0.35 && last < 0.6 * first, "{first} -> {last}");
    // The averaged network, by inference on unseen patches.
    let patches: Vec<Patch> = (1000..1004).map(patch).collect();
    let score = Watch::new(patches)
        .score(&trainer.averaged(), &Device::flex())
        .unwrap();
    assert!(score.dsc().unwrap() > 0.7, "{score:?}");
}

#[test]
fn what_is_unknown_has_no_say() {
    use crate::loss::closed::{LossGrad, f_beta};
    let n = 48;
    let z: Vec<f32> = (0..n).map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0).collect();
    let label = |i: usize| [1.0, 0.0, 0.0, -1.0][i % 4];
    let labels: Vec<f32> = (0..n).map(label).collect();
    let device = Device::flex().autodiff();
    let cube = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, 3, 4, 4]);
    let logits = cube(&z).require_grad();
    let (known, truth) = without_unknown(logits.clone(), cube(&labels));
    let loss = Loss::FBeta {
        beta: 1.5,
        smooth: 50.0,
    }
    .forward(known, truth);
    let grads = loss.clone().backward();
    let slopes: Vec<f32> = logits.grad(&grads).unwrap().into_data().try_to_vec().unwrap();

    // The oracle never sees the unknown voxels.
    let kept: Vec<usize> = (0..n).filter(|&i| label(i) >= 0.0).collect();
    let p = |i: usize| 1.0 / (1.0 + (-f64::from(z[i])).exp());
    let probabilities: Vec<f64> = kept.iter().map(|&i| p(i)).collect();
    let truth: Vec<f64> = kept.iter().map(|&i| f64::from(label(i))).collect();
    let LossGrad { value, gradient } = f_beta(&probabilities, &truth, 1.5, 50.0);
    let found = f64::from(loss.into_scalar::<f32>());
    assert!((found - value).abs() < 1e-6, "{found} for {value}");
    for (i, slope) in slopes.iter().enumerate() {
        let want = kept
            .iter()
            .position(|&k| k == i)
            .map_or(0.0, |k| gradient[k] * p(i) * (1.0 - p(i)));
        assert!((f64::from(*slope) - want).abs() < 1e-7, "{i}: {slope} for {want}");
    }
}

#[test]
fn a_weighed_loss_is_that_of_what_a_mask_shows() {
    use crate::loss::closed::f_beta;
    let n = 48;
    let z: Vec<f32> = (0..n).map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0).collect();
    let flair: Vec<f32> = (0..n).map(|i| (i * 29 % 17) as f32 / 8.0 - 0.5).collect();
    let labels: Vec<f32> = (0..n).map(|i| f32::from(u8::from(i % 3 == 0))).collect();
    let device = Device::flex().autodiff();
    let cube = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, 3, 4, 4]);
    let logits = cube(&z).require_grad();
    let brightness: Vec<f32> = flair.iter().map(|f| hyperintensity(*f)).collect();
    let loss = Guarded {
        loss: &Loss::FBeta {
            beta: 1.5,
            smooth: 1.0,
        },
        guard: 0.0,
        lesion_weight: 1.0,
    }
    .forward(logits.clone(), cube(&labels), Some(cube(&brightness)), None);
    let grads = loss.clone().backward();
    let slopes: Vec<f32> = logits.grad(&grads).unwrap().into_data().try_to_vec().unwrap();

    // The oracle sees the probabilities as the mask's threshold does.
    let p: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-f64::from(*z)).exp())).collect();
    let mut shown: Vec<f32> = p.iter().map(|p| *p as f32).collect();
    crate::volume::intensity::weigh(&flair, &mut shown, None);
    let [shown, truth] = [shown, labels].map(|v| v.into_iter().map(f64::from).collect::<Vec<f64>>());
    let want = f_beta(&shown, &truth, 1.5, 1.0);
    let found = f64::from(loss.into_scalar::<f32>());
    assert!((found - want.value).abs() < 1e-5, "{found} for {}", want.value);
    for (i, slope) in slopes.iter().enumerate() {
        let want = want.gradient[i] * f64::from(brightness[i]) * p[i] * (1.0 - p[i]);
        assert!((f64::from(*slope) - want).abs() < 1e-5, "{i}: {slope} for {want}");
    }
}

#[test]
fn a_run_is_weighed_if_its_configuration_says_so() {
    let (beta, smooth) = (1.5, 100.0);
    let mut dark = patch(1);
    dark.image.iter_mut().for_each(|v| *v -= 10.0);
    let config = TrainConfig {
        weighed: true,
        guard: 0.0,
        loss: Loss::FBeta { beta, smooth },
        ..config(1)
    };
    let mut trainer = Trainer::new(config, &Device::flex()).unwrap();
    // In a dark image nothing can be marked, whatever the network says: all of the lesion is missed.
    let missed: f64 = dark.label.iter().map(|l| f64::from(*l)).sum();
    let want = 1.0 - smooth / (smooth + missed * beta * beta / (1.0 + beta * beta));
    let found = f64::from(trainer.step(&[dark]).unwrap().loss);
    assert!((found - want).abs() < 1e-4, "{found} for {want}");
}

#[test]
fn a_small_lesion_counts_more_if_asked() {
    let first_loss = |guard_small: f64| {
        let config = TrainConfig {
            guard_small,
            ..config(1)
        };
        let mut trainer = Trainer::new(config, &Device::flex()).unwrap();
        // Its ball of some 40 voxels lies inside the patch.
        let patches: Vec<Patch> = vec![patch(1); trainer.config().batch];
        trainer.step(&patches).unwrap().loss
    };
    let (alike, by_size) = (first_loss(0.0), first_loss(0.5));
    assert!(by_size > 1.05 * alike, "{by_size} for {alike}");
}

#[test]
fn a_resumed_run_repeats_the_uninterrupted_one() {
    let config = config(14);
    let device = Device::flex();
    let mut straight = Trainer::new(config.clone(), &device).unwrap();
    let expected = run(&mut straight, 14);
    let mut first = Trainer::new(config, &device).unwrap();
    let mut found = run(&mut first, 6);
    let bytes = first.checkpoint().to_bytes().unwrap();
    drop(first);
    let mut second = Trainer::resume(Checkpoint::from_bytes(&bytes).unwrap(), &device).unwrap();
    assert_eq!(second.steps(), 6);
    found.extend(run(&mut second, 14));
    assert_eq!(found, expected);
    assert_eq!(second.state, straight.state);
    assert_eq!(State::of(&second.net).unwrap().values, second.state.values);
}

#[test]
fn a_file_that_is_no_whole_checkpoint_of_this_version_is_refused() {
    let trainer = Trainer::new(config(10), &Device::flex()).unwrap();
    let bytes = trainer.checkpoint().to_bytes().unwrap();
    let refused = |bytes: &[u8]| Checkpoint::from_bytes(bytes).err().unwrap();
    let old = [b"EQPCKPT1".as_slice(), &bytes[8..]].concat();
    assert!(matches!(refused(&old), CheckpointError::Old));
    for bytes in [
        &bytes[1..],
        &bytes[..bytes.len() - 4],
        &[&bytes[..], &[0]].concat(),
    ] {
        assert!(matches!(refused(bytes), CheckpointError::Damaged(_)));
    }
    let mut foreign = Checkpoint::from_bytes(&bytes).unwrap();
    foreign.config.net = NetConfig::preset("toy", 1).unwrap();
    assert!(matches!(
        Trainer::resume(foreign, &Device::flex()),
        Err(TrainError::Checkpoint(CheckpointError::Shape))
    ));
}

#[test]
fn a_patch_with_nan_is_reported_and_changes_nothing() {
    let mut trainer = Trainer::new(config(10), &Device::flex()).unwrap();
    let before = trainer.state.clone();
    let mut bad = patch(0);
    bad.image.fill(f32::NAN);
    assert!(matches!(
        trainer.step(&[bad]),
        Err(TrainError::Diverged { step: 0, .. })
    ));
    assert_eq!(trainer.state, before);
    // Running statistics on the device, too.
    assert_eq!(State::of(&trainer.net).unwrap().values, before.values);
}

#[test]
fn answers_are_counted_as_often_as_asked_and_change_nothing() {
    let batch: Vec<Patch> = (0..2).map(patch).collect();
    let run = |every: u64| {
        let config = TrainConfig {
            batch: 2,
            ..config(10)
        };
        let trainer = Trainer::new(config, &Device::flex()).unwrap();
        let mut trainer = trainer.with_counts_every(every);
        let reports: Vec<StepReport> = (0..4).map(|_| trainer.step(&batch).unwrap()).collect();
        (reports, trainer.state)
    };
    let ((always, a), (sometimes, b)) = (run(1), run(2));
    assert_eq!(a, b);
    for (always, sometimes) in always.into_iter().zip(sometimes) {
        let counts = always.counts.unwrap();
        let lesion = batch.iter().flat_map(|p| &p.label).filter(|l| **l > 0.5);
        assert_eq!(counts.found + counts.missed, lesion.count() as u64);
        let counts = always.counts.filter(|_| always.step % 2 == 0);
        assert_eq!(sometimes, StepReport { counts, ..always });
    }
}

#[test]
fn larger_beta_raises_recall() {
    // Lesion and background overlap: where to cut is the loss's choice.
    let noisy = |counter: u64| {
        let mut p = patch(counter);
        let label = p.label.clone();
        for (v, g) in p.image.iter_mut().zip(&label) {
            *v = *v * 2.5 - g;
        }
        p
    };
    let recall = |beta: f64| {
        let loss = Loss::FBeta { beta, smooth: 1.0 };
        let mut trainer = Trainer::new(TrainConfig { loss, ..config(100) }, &Device::flex()).unwrap();
        for i in 0..100 {
            trainer.step(&[noisy(i)]).unwrap();
        }
        let watch = Watch::new((1000..1006).map(noisy).collect());
        watch.score(&trainer.averaged(), &Device::flex()).unwrap()
    };
    let (low, high) = (recall(1.0), recall(3.0));
    assert!(high.tpr() > low.tpr(), "{low:?} {high:?}");
    assert!(high.ppv() < low.ppv(), "{low:?} {high:?}");
}
