// A small player for skinned glTF models: orbit, play, colors, bones. No library.
"use strict";
document.querySelectorAll(".viewer").forEach(box => {
const TAU = 2 * Math.PI;
const canvas = box.querySelector("canvas");
const gl = canvas.getContext("webgl2", { antialias: true, alpha: true });
if (!gl) { box.classList.add("plain"); return; }

// ---- the file: JSON chunk, binary chunk, accessors
const text = document.getElementById(box.dataset.model).textContent.trim();
const raw = Uint8Array.from(atob(text), c => c.charCodeAt(0));
const size = new DataView(raw.buffer).getUint32(12, true);
const gltf = JSON.parse(new TextDecoder().decode(raw.subarray(20, 20 + size)));
const start = 28 + size;
const KINDS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const WIDTHS = { SCALAR: 1, VEC3: 3, VEC4: 4, MAT4: 16 };
const read = index => {
  const a = gltf.accessors[index], view = gltf.bufferViews[a.bufferView];
  const at = start + (view.byteOffset || 0);
  return new KINDS[a.componentType](raw.slice(at, at + view.byteLength).buffer);
};
const primitive = gltf.meshes[0].primitives[0], skin = gltf.skins[0];
const place = read(primitive.attributes.POSITION), faces = read(primitive.indices);
const joints = read(primitive.attributes.JOINTS_0), weights = read(primitive.attributes.WEIGHTS_0);
const bind = read(skin.inverseBindMatrices), count = skin.joints.length;
const clip = gltf.animations[0], times = read(clip.samplers[0].input);
const tracks = clip.channels.map(c => ({ node: c.target.node, path: c.target.path,
  keys: read(clip.samplers[c.sampler].output) }));
const length = times[times.length - 1] || 0;
const parent = new Array(gltf.nodes.length).fill(-1);
gltf.nodes.forEach((n, i) => (n.children || []).forEach(c => { parent[c] = i; }));

// ---- small matrices, column by column
const multiply = (a, b) => {
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++)
    for (let k = 0; k < 4; k++) out[4 * c + r] += a[4 * k + r] * b[4 * c + k];
  return out;
};
const rigid = ([x, y, z, w], t) => new Float32Array([
  1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y), 0,
  2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x), 0,
  2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y), 0, t[0], t[1], t[2], 1]);
const sample = (track, time) => {
  const n = track.keys.length / times.length;
  let i = times.length > 1 ? Math.min(times.length - 2, times.findLastIndex(t => t <= time)) : 0;
  i = Math.max(i, 0);
  const j = Math.min(i + 1, times.length - 1);
  const s = j > i ? Math.min(1, Math.max(0, (time - times[i]) / (times[j] - times[i]))) : 0;
  const out = [];
  for (let k = 0; k < n; k++) out.push((1 - s) * track.keys[n * i + k] + s * track.keys[n * j + k]);
  const norm = n === 4 ? Math.hypot(...out) : 1;
  return out.map(v => v / norm);
};
const worlds = time => {
  const turn = gltf.nodes.map(n => n.rotation || [0, 0, 0, 1]);
  const shift = gltf.nodes.map(n => n.translation || [0, 0, 0]);
  if (time !== null) for (const t of tracks)
    (t.path === "rotation" ? turn : shift)[t.node] = sample(t, time);
  const world = [];
  const of = i => world[i] ||= parent[i] < 0 ? rigid(turn[i], shift[i])
    : multiply(of(parent[i]), rigid(turn[i], shift[i]));
  gltf.nodes.forEach((_, i) => of(i));
  return world;
};

// ---- programs
const compile = (vertex, fragment) => {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, "#version 300 es\nprecision highp float;\n" + source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS))
      throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return { program, at: name => gl.getUniformLocation(program, name) };
};
const surface = compile(`
  layout(location=0) in vec3 place; layout(location=1) in vec3 normal;
  layout(location=2) in vec4 color; layout(location=3) in uvec4 joint;
  layout(location=4) in vec4 weight; layout(location=5) in vec3 part;
  uniform sampler2D motion; uniform mat4 camera; uniform mat3 view; uniform int look;
  out vec3 tint; out vec3 facing;
  mat4 bone(uint i) {
    return mat4(texelFetch(motion, ivec2(0, i), 0), texelFetch(motion, ivec2(1, i), 0),
                texelFetch(motion, ivec2(2, i), 0), texelFetch(motion, ivec2(3, i), 0));
  }
  void main() {
    mat4 m = weight.x * bone(joint.x) + weight.y * bone(joint.y)
           + weight.z * bone(joint.z) + weight.w * bone(joint.w);
    gl_Position = camera * (m * vec4(place, 1.0));
    facing = view * (mat3(m) * normal);
    vec3 srgb = mix(12.92 * color.rgb, 1.055 * pow(color.rgb, vec3(1.0 / 2.4)) - 0.055,
                    step(0.0031308, color.rgb));
    tint = look == 0 ? srgb : look == 1 ? vec3(0.78) : part;
  }`, `
  in vec3 tint; in vec3 facing; out vec4 pixel;
  void main() {
    vec3 n = normalize(facing);
    float key = max(dot(n, normalize(vec3(-0.45, 0.7, 0.55))), 0.0);
    float fill = max(dot(n, normalize(vec3(0.8, 0.1, 0.6))), 0.0);
    pixel = vec4(tint * (0.5 + 0.5 * key + 0.15 * fill), 1.0);
  }`);
const wires = compile(`
  layout(location=0) in vec3 place; uniform mat4 camera; uniform float thickness;
  void main() { gl_Position = camera * vec4(place, 1.0); gl_PointSize = thickness; }`, `
  uniform vec4 tone; uniform int disc; out vec4 pixel;
  void main() {
    if (disc == 1 && length(gl_PointCoord - 0.5) > 0.5) discard;
    pixel = tone;
  }`);

// ---- buffers
const hue = h => [0, 8, 4].map(n => {   // one color a bone, by the golden section
  const k = (n + 12 * h) % 12;
  return 0.56 - 0.36 * Math.max(-1, Math.min(k - 3, 9 - k, 1));
});
const parts = new Float32Array(place.length);
for (let v = 0; v < place.length / 3; v++) for (let k = 0; k < 4; k++) {
  const c = hue((0.618034 * joints[4 * v + k]) % 1);
  for (let i = 0; i < 3; i++) parts[3 * v + i] += weights[4 * v + k] * c[i];
}
const mesh = gl.createVertexArray();
gl.bindVertexArray(mesh);
const feed = (slot, data, width, kind, scaled, whole) => {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(slot);
  if (whole) gl.vertexAttribIPointer(slot, width, kind, 0, 0);
  else gl.vertexAttribPointer(slot, width, kind, scaled, 0, 0);
};
feed(0, place, 3, gl.FLOAT);
feed(1, read(primitive.attributes.NORMAL), 3, gl.FLOAT);
feed(2, read(primitive.attributes.COLOR_0), 4, gl.UNSIGNED_SHORT, true);
feed(3, joints, 4, gl.UNSIGNED_BYTE, false, true);
feed(4, weights, 4, gl.FLOAT);
feed(5, parts, 3, gl.FLOAT);
gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
const lines = gl.createVertexArray(), lineBuffer = gl.createBuffer();
gl.bindVertexArray(lines);
gl.bindBuffer(gl.ARRAY_BUFFER, lineBuffer);
gl.enableVertexAttribArray(0);
gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
const motion = gl.createTexture();
gl.bindTexture(gl.TEXTURE_2D, motion);
gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);

// ---- what the viewer can change
const low = [0, 1, 2].map(i => gltf.accessors[primitive.attributes.POSITION].min[i]);
const high = [0, 1, 2].map(i => gltf.accessors[primitive.attributes.POSITION].max[i]);
const center = low.map((v, i) => (v + high[i]) / 2);
const reach = Math.hypot(...low.map((v, i) => high[i] - v)) / 2;
const home = { azimuth: +box.dataset.azimuth + 0.5, elevation: 0.25, far: 3.0 * reach };
let { azimuth, elevation, far } = home, time = 0, playing = true, look = 0, bones = false;
let resting = false, last = 0, stale = true;

const draw = () => {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const world = worlds(resting ? null : time);
  const data = new Float32Array(16 * count);
  skin.joints.forEach((node, i) =>
    data.set(multiply(world[node], bind.subarray(16 * i, 16 * i + 16)), 16 * i));
  gl.bindTexture(gl.TEXTURE_2D, motion);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 4, count, 0, gl.RGBA, gl.FLOAT, data);
  const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
  const away = [ce * sa, se, ce * ca], right = [ca, 0, -sa], up = [-se * sa, ce, -se * ca];
  const eye = center.map((c, i) => c + far * away[i]);
  const dot = a => -(a[0] * eye[0] + a[1] * eye[1] + a[2] * eye[2]);
  const view = new Float32Array([right[0], up[0], away[0], 0, right[1], up[1], away[1], 0,
    right[2], up[2], away[2], 0, dot(right), dot(up), dot(away), 1]);
  const near = far / 50, end = far * 20, focal = 1 / Math.tan(0.33) * Math.min(1, width / height);
  const lens = new Float32Array([focal * height / width, 0, 0, 0, 0, focal, 0, 0,
    0, 0, (end + near) / (near - end), -1, 0, 0, 2 * end * near / (near - end), 0]);
  const camera = multiply(lens, view);
  gl.viewport(0, 0, width, height);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.enable(gl.DEPTH_TEST);
  gl.useProgram(surface.program);
  gl.uniformMatrix4fv(surface.at("camera"), false, camera);
  gl.uniformMatrix3fv(surface.at("view"), false, [right[0], up[0], away[0], right[1], up[1],
    away[1], right[2], up[2], away[2]]);
  gl.uniform1i(surface.at("look"), look);
  gl.bindVertexArray(mesh);
  gl.drawElements(gl.TRIANGLES, faces.length, faces.BYTES_PER_ELEMENT === 4 ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0);
  if (bones) drawBones(world, camera, ratio);
};
const drawBones = (world, camera, ratio) => {
  const at = node => Array.from(world[node].subarray(12, 15)), pairs = [], dots = [];
  for (const node of skin.joints) {
    dots.push(...at(node));
    if (skin.joints.includes(parent[node])) pairs.push(...at(node), ...at(parent[node]));
  }
  gl.disable(gl.DEPTH_TEST);
  gl.useProgram(wires.program);
  gl.uniformMatrix4fv(wires.at("camera"), false, camera);
  gl.bindVertexArray(lines);
  gl.bindBuffer(gl.ARRAY_BUFFER, lineBuffer);
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([...pairs, ...dots]), gl.DYNAMIC_DRAW);
  gl.uniform4f(wires.at("tone"), 0.1, 0.1, 0.12, 1);
  gl.uniform1i(wires.at("disc"), 0);
  gl.drawArrays(gl.LINES, 0, pairs.length / 3);
  for (const [dot, tone] of [[9, 0.1], [6, 1]]) {
    gl.uniform1f(wires.at("thickness"), dot * ratio);
    gl.uniform4f(wires.at("tone"), tone, tone, tone, 1);
    gl.uniform1i(wires.at("disc"), 1);
    gl.drawArrays(gl.POINTS, pairs.length / 3, dots.length / 3);
  }
};

// ---- hands
const find = name => box.querySelector(`[data-do=${name}]`), slider = find("time");
slider.max = length;
const press = (name, action) => find(name).addEventListener("click", () => { action(); show(); });
const show = () => {
  find("play").textContent = playing ? "Pause" : "Play";
  box.querySelectorAll("[data-look]").forEach(b =>
    b.setAttribute("aria-pressed", String(+b.dataset.look === look)));
  find("bones").setAttribute("aria-pressed", String(bones));
  find("rest").setAttribute("aria-pressed", String(resting));
  stale = true;
};
press("play", () => { playing = !playing; if (playing) resting = false; });
press("bones", () => { bones = !bones; });
press("rest", () => { resting = !resting; playing = !resting; });
press("home", () => { ({ azimuth, elevation, far } = home); });
box.querySelectorAll("[data-look]").forEach(b =>
  b.addEventListener("click", () => { look = +b.dataset.look; show(); }));
slider.addEventListener("input", () => { time = +slider.value; playing = resting = false; show(); });
const fingers = new Map();
let pinch = 0;
const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
canvas.addEventListener("pointerdown", e => {
  canvas.setPointerCapture(e.pointerId);
  fingers.set(e.pointerId, [e.clientX, e.clientY]);
  if (fingers.size === 2) pinch = spread();
});
canvas.addEventListener("pointermove", e => {
  const before = fingers.get(e.pointerId);
  if (!before) return;
  fingers.set(e.pointerId, [e.clientX, e.clientY]);
  if (fingers.size === 1) {
    azimuth = (azimuth - 0.01 * (e.clientX - before[0])) % TAU;
    elevation = Math.max(-1.5, Math.min(1.5, elevation + 0.01 * (e.clientY - before[1])));
  } else if (fingers.size === 2) { zoom(pinch / spread()); pinch = spread(); }
  stale = true;
});
const lift = e => fingers.delete(e.pointerId);
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
const zoom = by => { far = Math.max(1.2 * reach, Math.min(20 * reach, far * by)); stale = true; };
canvas.addEventListener("wheel", e => { e.preventDefault(); zoom(Math.exp(0.001 * e.deltaY)); }, { passive: false });
addEventListener("resize", () => { stale = true; });
canvas.addEventListener("keydown", e => {
  const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
  if (!step) return;
  e.preventDefault();
  azimuth += step[0];
  elevation = Math.max(-1.5, Math.min(1.5, elevation + step[1]));
  stale = true;
});
const tick = now => {
  if (playing && !resting && length > 0) {
    time = (time + Math.min(0.1, (now - last) / 1000)) % length;
    slider.value = time;
    stale = true;
  }
  last = now;
  if (stale) { stale = false; draw(); }
  requestAnimationFrame(tick);
};
show();
requestAnimationFrame(tick);
});
