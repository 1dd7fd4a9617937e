//! One network out of several that were trained from one start.

use super::flat;
use crate::net::DenseNet;

/// The network whose every number is the mean of those of `nets`; none of no network.
///
/// Runs that share a start and differ by their seed end in one valley of the loss, so the mean of their weights is a network as
/// good as theirs or better, at the cost of one (Wortsman et al. 2022, arXiv 2203.05482: a uniform soup). Runs that do not share a
/// start average to nothing of use.
///
/// # Errors
/// A sentence if the device does not answer or the networks are not of one shape.
pub async fn soup(nets: &[DenseNet]) -> Result<Option<DenseNet>, String> {
    let Some((first, _)) = nets.split_first() else {
        return Ok(None);
    };
    let places = flat::read(first);
    let mut sums: Vec<Vec<f64>> = places
        .iter()
        .map(|t| vec![0.0; t.shape().num_elements()])
        .collect();
    for net in nets {
        let parts = flat::read(net);
        if parts.len() != sums.len() {
            return Err(format!(
                "a network has {} tensors, the first {}",
                parts.len(),
                sums.len()
            ));
        }
        for (sum, part) in sums.iter_mut().zip(parts) {
            let values = flat::host(part).await?;
            if values.len() != sum.len() {
                return Err(format!(
                    "a tensor has {} numbers, the first network's {}",
                    values.len(),
                    sum.len()
                ));
            }
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
    }
    let n = nets.len() as f64;
    let means = sums.into_iter().zip(&places).map(|(sum, place)| {
        let mean: Vec<f32> = sum.into_iter().map(|v| (v / n) as f32).collect();
        Some(flat::tensor(mean, &place.device()))
    });
    Ok(Some(flat::write(first.clone(), means)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{DenseNet, NetConfig};
    use burn::tensor::Device;

    fn net(growth: usize, seed: u64) -> DenseNet {
        let config = NetConfig {
            growth,
            layers: 1,
            blocks: 1,
            ..NetConfig::browser()
        };
        DenseNet::new(&config, seed, &Device::flex()).unwrap()
    }

    fn numbers(net: &DenseNet) -> Vec<f32> {
        let parts = flat::read(net).into_iter();
        parts
            .flat_map(|part| pollster::block_on(flat::host(part)).unwrap())
            .collect()
    }

    #[test]
    fn every_number_is_the_mean() {
        let nets = [net(4, 1), net(4, 2), net(4, 3)];
        let all: Vec<_> = nets.iter().map(numbers).collect();
        let got = numbers(&pollster::block_on(soup(&nets)).unwrap().unwrap());
        for (at, got) in got.iter().enumerate() {
            let expected = (f64::from(all[0][at]) + f64::from(all[1][at]) + f64::from(all[2][at])) / 3.0;
            assert!(
                (f64::from(*got) - expected).abs() <= 1e-7 * expected.abs().max(1.0),
                "{at}"
            );
        }
        assert_ne!(all[0], all[1]);
    }

    #[test]
    fn one_network_is_its_own_mean_and_none_has_none() {
        let one = net(4, 7);
        let got = pollster::block_on(soup(std::slice::from_ref(&one)))
            .unwrap()
            .unwrap();
        assert_eq!(numbers(&got), numbers(&one));
        assert!(pollster::block_on(soup(&[])).unwrap().is_none());
    }

    #[test]
    fn networks_of_two_shapes_are_refused() {
        let error = pollster::block_on(soup(&[net(4, 1), net(8, 1)])).unwrap_err();
        assert!(error.contains("numbers") || error.contains("tensors"), "{error}");
    }
}
