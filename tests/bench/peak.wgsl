// Multiply-adds that depend on nothing but registers, in four forms; the fastest is the adapter's peak. Which that is
// depends on the adapter: not all have a fused multiply-add, and emulated ones have few registers.
//
// io[0] and io[1] are factor and summand, unknown to the compiler; each unit leaves a sum behind it so that nothing
// can be left out. A pass over a loop's body is 16 multiply-adds in the narrow forms, 32 in the wide ones.

@group(0) @binding(0) var<storage, read_write> io: array<f32>;
override loops: u32 = 1u;

fn leave(unit: u32, a: vec4f) {
    io[2u + unit] = a.x + a.y + a.z + a.w;
}

@compute @workgroup_size(64)
fn fused_narrow(@builtin(global_invocation_id) id: vec3u) {
    let m = vec4f(io[0]);
    let s = vec4f(io[1]);
    var a = vec4f(f32(id.x));
    var b = a + 1.0;
    for (var i = 0u; i < loops; i++) {
        a = fma(a, m, s);
        b = fma(b, m, s);
        a = fma(a, m, s);
        b = fma(b, m, s);
    }
    leave(id.x, a + b);
}

@compute @workgroup_size(64)
fn plain_narrow(@builtin(global_invocation_id) id: vec3u) {
    let m = vec4f(io[0]);
    let s = vec4f(io[1]);
    var a = vec4f(f32(id.x));
    var b = a + 1.0;
    for (var i = 0u; i < loops; i++) {
        a = a * m + s;
        b = b * m + s;
        a = a * m + s;
        b = b * m + s;
    }
    leave(id.x, a + b);
}

@compute @workgroup_size(64)
fn fused_wide(@builtin(global_invocation_id) id: vec3u) {
    let m = vec4f(io[0]);
    let s = vec4f(io[1]);
    var a = vec4f(f32(id.x));
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    for (var i = 0u; i < loops; i++) {
        a = fma(a, m, s);
        b = fma(b, m, s);
        c = fma(c, m, s);
        d = fma(d, m, s);
        a = fma(a, m, s);
        b = fma(b, m, s);
        c = fma(c, m, s);
        d = fma(d, m, s);
    }
    leave(id.x, a + b + c + d);
}

@compute @workgroup_size(64)
fn plain_wide(@builtin(global_invocation_id) id: vec3u) {
    let m = vec4f(io[0]);
    let s = vec4f(io[1]);
    var a = vec4f(f32(id.x));
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    for (var i = 0u; i < loops; i++) {
        a = a * m + s;
        b = b * m + s;
        c = c * m + s;
        d = d * m + s;
        a = a * m + s;
        b = b * m + s;
        c = c * m + s;
        d = d * m + s;
    }
    leave(id.x, a + b + c + d);
}
