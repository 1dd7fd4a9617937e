//! Which engine runs, and why, in words for a person.

use crate::web::messages::{EngineChoice, EngineKind};

/// What the browser says about its GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// There is no `navigator.gpu`.
    Missing,
    /// There is one, but it hands out no adapter.
    NoAdapter,
    /// An adapter was handed out.
    Adapter {
        /// Vendor and architecture in words; empty if the browser hides them.
        name: String,
        /// True if it computes on the processor (SwiftShader, llvmpipe, WARP).
        software: bool,
    },
}

/// The engine a run starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The engine.
    pub engine: EngineKind,
    /// Why that one, in a sentence.
    pub why: String,
    /// A warning for the result's notes, in a sentence.
    pub warning: Option<String>,
}

impl Choice {
    fn new(engine: EngineKind, why: impl Into<String>) -> Self {
        Self {
            engine,
            why: why.into(),
            warning: None,
        }
    }
}

/// Names by which software adapters are known where the browser does not mark them as such.
const SOFTWARE: [&str; 5] = [
    "swiftshader",
    "llvmpipe",
    "lavapipe",
    "warp",
    "microsoft basic render",
];

/// True if an adapter's own description names a software implementation.
#[must_use]
pub fn names_software(description: &str) -> bool {
    let description = description.to_lowercase();
    SOFTWARE.iter().any(|name| description.contains(name))
}

/// Decides which engine starts.
///
/// `failed` is why WebGPU failed earlier in this session, if it did. `Auto` then stays with the CPU; a person who asks
/// for WebGPU by name gets another try, because drivers recover.
#[must_use]
pub fn choose(asked: EngineChoice, gpu: &Gpu, failed: Option<&str>) -> Choice {
    let automatic = asked == EngineChoice::Auto;
    if asked == EngineChoice::Use(EngineKind::Cpu) {
        return Choice::new(EngineKind::Cpu, "You chose the CPU.");
    }
    match gpu {
        Gpu::Missing if automatic => Choice::new(
            EngineKind::Cpu,
            "This browser has no WebGPU, so the network runs on the CPU.",
        ),
        Gpu::Missing => Choice::new(
            EngineKind::Cpu,
            "You chose WebGPU, but this browser has none, so the network runs on the CPU. A current Chrome, Edge or \
             Safari has WebGPU.",
        ),
        Gpu::NoAdapter if automatic => Choice::new(
            EngineKind::Cpu,
            "This browser offers no usable GPU, so the network runs on the CPU.",
        ),
        Gpu::NoAdapter => Choice::new(
            EngineKind::Cpu,
            "You chose WebGPU, but this browser offers no usable GPU, so the network runs on the CPU. Hardware \
             acceleration may be switched off in the browser's settings.",
        ),
        Gpu::Adapter { name, software: true } if automatic => Choice::new(
            EngineKind::Cpu,
            format!(
                "WebGPU here is only emulated in software{}, which is slower than the CPU engine.",
                of(name)
            ),
        ),
        Gpu::Adapter { .. } if automatic && failed.is_some() => Choice::new(
            EngineKind::Cpu,
            format!(
                "WebGPU failed before ({}), so the network runs on the CPU.",
                failed.unwrap_or_default()
            ),
        ),
        Gpu::Adapter { name, software } => {
            let why = if automatic {
                format!("WebGPU found a GPU{}, usually the fastest way.", of(name))
            } else {
                format!("You chose WebGPU{}.", of(name))
            };
            let warning = software.then(|| {
                "WebGPU is only emulated in software on this computer: the CPU engine would be much faster.".into()
            });
            Choice {
                warning,
                ..Choice::new(EngineKind::WebGpu, why)
            }
        }
    }
}

fn of(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" ({name})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(software: bool) -> Gpu {
        Gpu::Adapter {
            name: "acme rdna".into(),
            software,
        }
    }

    #[test]
    fn automatic_takes_real_hardware_only() {
        let auto = EngineChoice::Auto;
        assert_eq!(choose(auto, &adapter(false), None).engine, EngineKind::WebGpu);
        assert_eq!(choose(auto, &adapter(true), None).engine, EngineKind::Cpu);
        assert_eq!(choose(auto, &Gpu::Missing, None).engine, EngineKind::Cpu);
        assert_eq!(choose(auto, &Gpu::NoAdapter, None).engine, EngineKind::Cpu);
    }

    #[test]
    fn automatic_does_not_trust_a_gpu_that_failed_but_a_person_may() {
        let failed = Some("self-test differs by 0.2");
        let auto = choose(EngineChoice::Auto, &adapter(false), failed);
        assert_eq!(auto.engine, EngineKind::Cpu);
        assert!(auto.why.contains("0.2"), "{}", auto.why);
        let asked = choose(EngineChoice::Use(EngineKind::WebGpu), &adapter(false), failed);
        assert_eq!(asked.engine, EngineKind::WebGpu);
    }

    #[test]
    fn an_explicit_choice_is_honoured_and_a_software_gpu_warned_of() {
        let asked = EngineChoice::Use(EngineKind::WebGpu);
        let soft = choose(asked, &adapter(true), None);
        assert_eq!(soft.engine, EngineKind::WebGpu);
        assert!(soft.warning.is_some());
        assert!(choose(asked, &adapter(false), None).warning.is_none());
        let cpu = choose(EngineChoice::Use(EngineKind::Cpu), &adapter(false), None);
        assert_eq!(cpu.engine, EngineKind::Cpu);
    }

    #[test]
    fn webgpu_asked_for_in_vain_says_so() {
        for gpu in [Gpu::Missing, Gpu::NoAdapter] {
            let choice = choose(EngineChoice::Use(EngineKind::WebGpu), &gpu, None);
            assert_eq!(choice.engine, EngineKind::Cpu);
            assert!(choice.why.starts_with("You chose WebGPU, but"), "{}", choice.why);
        }
    }

    #[test]
    fn software_adapters_are_known_by_name() {
        assert!(names_software("Google SwiftShader"));
        assert!(names_software("llvmpipe (LLVM 15.0.6, 256 bits)"));
        assert!(!names_software("NVIDIA ampere"));
    }
}
