// The only file that knows NiiVue. The page calls these few methods; everything about volumes, planes and textures
// stays behind them.
//
// NiiVue is loaded on its own, so the page is there before its viewer is. Every task waits for the one before: two
// loads never meet, and nothing is drawn before the canvas is attached.

// Overlay colours. Mask: orange of the Okabe-Ito palette, which every kind of colour vision tells from grey.
// Probability: plasma (perceptually uniform); style.css draws the same stops as the colour bar.
const MASK = { R: [230, 230], G: [159, 159], B: [0, 0], A: [0, 255], I: [0, 255] };
// Comparison (codes 1, 2, 3: both, mask only, reference only): yellow, vermillion and sky blue of the same palette.
const COMPARISON = {
  R: [0, 0, 240, 240, 213, 213, 86, 86],
  G: [0, 0, 228, 228, 94, 94, 180, 180],
  B: [0, 0, 66, 66, 0, 0, 233, 233],
  A: [0, 0, 255, 255, 255, 255, 255, 255],
  I: [0, 42, 43, 127, 128, 212, 213, 255],
};
const PLASMA = {
  R: [13, 84, 139, 185, 219, 244, 254, 253, 240],
  G: [8, 2, 10, 50, 92, 136, 188, 231, 249],
  B: [135, 163, 165, 137, 104, 73, 43, 37, 33],
  A: [255, 255, 255, 255, 255, 255, 255, 255, 255],
  I: [0, 32, 64, 96, 128, 159, 191, 223, 255],
};
// This share of the voxels in the middle may be brighter than what counts as its brightest; lesions elsewhere are brighter by no more
// than the headroom.
const GLARE = 0.001;
const HEADROOM = 1.25;
// NiiVue's ZERO_TO_MAX_TRANSPARENT_BELOW_MIN: colours span 0 to calMax, below calMin nothing is drawn.
const FROM_ZERO = 1;
const UINT8 = 2;

export class Viewer {
  #view = null;
  #canvas;
  #last;
  #probability = null; // NIfTI volume as NiiVue read it
  #mask = null; // the same grid with one byte a voxel
  #comparison = null; // that too
  #style = { display: "mask", opacity: 0.6, threshold: 0.5 };
  #layout = { panes: "all", radiological: true };
  #restyling = false;
  #strokes = null; // while a mask is corrected: the drawing after each stroke, the first as it came
  #moved = false; // the person has been somewhere: do not take them away

  // `onLocation(x, y, z, intensity, overlay)`: the crosshair in mm, the scan's value, the overlay's (NaN without one).
  // `onWindow(low, high)`: the image window changed, perhaps because a person drew a box with the right button.
  constructor(canvas, onLocation, onWindow) {
    this.#last = this.#attach(canvas, onLocation, onWindow);
    // Whoever waits for a task hears of the failure; the chain itself must not report it twice.
    this.#last.catch(() => {});
  }

  async #attach(canvas, onLocation, onWindow) {
    const { default: NiiVue } = await import("@niivue/niivue/webgl2");
    const view = new NiiVue({
      backend: "webgl2",
      isDragDropEnabled: false,
      backgroundColor: [0.05, 0.05, 0.06, 1],
      crosshairColor: [0.34, 0.71, 0.91, 0.9],
      crosshairWidth: 0.35, // radius in mm
      crosshairGap: 6,
      fontColor: [0.93, 0.93, 0.95, 1],
      isOrientationTextVisible: true,
      isOrientCubeVisible: false,
      isColorbarVisible: false,
      isRadiological: true,
      showRender: 1,
      multiplanarType: 2,
      tileMargin: 4,
    });
    view.addColormap("EquipoiseMask", MASK);
    view.addColormap("EquipoiseProbability", PLASMA);
    view.addColormap("EquipoiseComparison", COMPARISON);
    await view.attachToCanvas(canvas);
    this.#canvas = canvas;
    // NiiVue listens for single letters on the whole window, which would move the scan while a person is on a button;
    // the page has its own keys, and only while the canvas has the focus.
    window.removeEventListener("keydown", view._eventListeners.keydown);
    view.addEventListener("locationChange", ({ detail }) => {
      const [scan, overlay] = detail.values;
      if (scan) onLocation(detail.mm[0], detail.mm[1], detail.mm[2], scan.value, overlay?.value ?? NaN);
    });
    view.addEventListener("volumeUpdated", ({ detail }) => {
      if (detail.volumeIndex === 0) onWindow(detail.volume.calMin, detail.volume.calMax);
    });
    view.addEventListener("drawingChanged", ({ detail }) => {
      if (detail.action !== "stroke" || !this.#strokes) return;
      this.#strokes.push(view.drawingVolume.img.slice());
      // The oldest strokes can be undone no more; the mask as it came stays.
      if (this.#strokes.length > MOST_STROKES + 1) this.#strokes.splice(1, 1);
    });
    canvas.addEventListener("pointerdown", () => (this.#moved = true));
    this.#view = view;
    this.#arrange();
  }

  #then(task) {
    const next = this.#last.then(task, (failure) => {
      // A task that failed must not stop the next, but without a canvas there is nothing to do.
      if (this.#view) return task();
      throw failure;
    });
    this.#last = next;
    next.catch(() => {});
    return next;
  }

  // Resolves when the canvas is attached and NiiVue can draw.
  ready() {
    return this.#then(() => {});
  }

  // Shows a scan and answers [low, high], the window chosen for it. Where it lies is what its file says, or `laid`: 16 numbers, row
  // by row, from its voxels to mm.
  showScan(file, laid) {
    return this.#then(async () => {
      await this.#view.loadVolumes([{ url: await named(file), colormap: "Gray" }]);
      const scan = this.#view.volumes[0];
      if (!scan) throw new Error("the viewer cannot read this file");
      // A few voxels below zero are overshoot of someone's resampling: air, or what was stripped, is black all the same.
      // Scores with a mean of zero reach further down and keep their window.
      const calMin = scan.calMin < 0 && -scan.calMin < scan.calMax / 2 ? 0 : scan.calMin;
      const white = whiteInTheMiddle(scan);
      await this.#view.setVolume(0, { calMin, calMax: white > calMin ? Math.min(scan.calMax, white) : scan.calMax });
      if (laid) await this.#view.setVolumeAffine(0, [0, 4, 8, 12].map((row) => [...laid.slice(row, row + 4)]));
      if (!this.#probability) this.#moved = false;
      await this.#placeOverlay();
      const shown = this.#view.volumes[0];
      return [shown.calMin, shown.calMax];
    });
  }

  // Takes the probability: the bytes of a NIfTI-1 file.
  showProbability(bytes) {
    return this.#then(async () => {
      const view = this.#view;
      this.#dropOverlay();
      await view.addVolume({ url: new File([bytes], "probability.nii"), opacity: 0 });
      this.#probability = { ...view.volumes[1], colormap: "EquipoiseProbability", colormapType: FROM_ZERO, calMax: 1 };
      this.#mask = null;
      this.#comparison = null;
      await this.#placeOverlay();
    });
  }

  // Takes a mask, one byte a voxel in the order of the probability's file.
  showMask(bytes) {
    return this.#then(async () => {
      if (!this.#probability) return;
      const first = this.#mask === null;
      this.#mask = this.#bytes(bytes, { name: "mask", colormap: "EquipoiseMask", calMin: 0.5, calMax: 1 });
      if (first && !this.#moved) this.#visit(this.#mask);
      await this.#refresh(this.#mask);
    });
  }

  // Takes the comparison of mask and reference, one code a voxel in the order of the probability's file.
  showComparison(bytes) {
    return this.#then(async () => {
      if (!this.#probability) return;
      this.#comparison = this.#bytes(bytes, { name: "comparison", colormap: "EquipoiseComparison", calMin: 0, calMax: 3 });
      await this.#refresh(this.#comparison);
    });
  }

  // A volume on the probability's grid with one byte a voxel.
  #bytes(bytes, how) {
    const hdr = { ...this.#probability.hdr, datatypeCode: UINT8, numBitsPerVoxel: 8, scl_slope: 1, scl_inter: 0 };
    return { ...this.#probability, hdr, img: new Uint8Array(bytes), colormapType: 0, ...how };
  }

  // Draws an overlay that has new voxels, if it is the one on show.
  async #refresh(overlay) {
    if (this.#style.display !== overlay.name) return;
    if (this.#view.volumes[1]?.name !== overlay.name) {
      await this.#placeOverlay();
    } else {
      this.#view.volumes[1].img = overlay.img;
      await this.#redrawOverlay();
    }
  }

  // Chooses the overlay ("mask", "probability", "comparison" or "none"), its opacity and the least probability drawn.
  style(display, opacity, threshold) {
    const other = display !== this.#style.display;
    this.#style = { display, opacity, threshold };
    if (other) return this.#then(() => this.#placeOverlay());
    // A slider sends many of these; one redraw takes them all.
    if (this.#restyling) return this.#last;
    this.#restyling = true;
    return this.#then(async () => {
      this.#restyling = false;
      const overlay = this.#view.volumes[1];
      if (!overlay) return;
      Object.assign(overlay, this.#overlayStyle());
      await this.#redrawOverlay();
    });
  }

  // Shows intensities from low (black) to high (white).
  window(low, high) {
    return this.#then(async () => {
      if (this.#view.volumes[0]) await this.#view.setVolume(0, { calMin: low, calMax: high });
    });
  }

  // Chooses the panes ("all", "axial", "coronal", "sagittal", "render") and the side convention.
  layout(panes, radiological) {
    this.#layout = { panes, radiological };
    return this.#then(() => this.#arrange());
  }

  // Moves the crosshair by whole voxels to the right, front and top of the patient.
  step(right, front, top) {
    this.#moved = true;
    return this.#then(() => this.#view.moveCrosshairInVox(right, front, top));
  }

  // Moves the crosshair to a place in world millimetres.
  goTo(x, y, z) {
    this.#moved = true;
    return this.#then(() => {
      if (!this.#view.volumes[0]) return;
      this.#view.setCrosshairPos([x, y, z]);
      this.#view.createOnLocationChange();
    });
  }

  // Puts the mask under pen and eraser. The scan shown must be the one that the mask was made for.
  startDrawing() {
    return this.#then(async () => {
      const view = this.#view;
      const scan = view.volumes[0];
      const voxels = this.#mask?.img;
      if (!scan || !voxels) throw new Error("there is no mask to correct");
      if (scan.dimsRAS[1] * scan.dimsRAS[2] * scan.dimsRAS[3] !== voxels.length)
        throw new Error("the scan on show is not the one that the mask was made for; show the FLAIR");
      this.#strokes = [];
      await this.#placeOverlay();
      view.createEmptyDrawing();
      view.drawIsFillOverwriting = true;
      const drawing = view.drawingVolume.img;
      forEachVoxel(scan, (drawn, stored) => (drawing[drawn] = voxels[stored] ? 1 : 0));
      this.#strokes.push(drawing.slice());
      view.refreshDrawing();
    });
  }

  // Chooses the tool ("pen", "eraser" or "none", which moves the crosshair again) and its width in voxels.
  drawWith(tool, size) {
    return this.#then(() => {
      const view = this.#view;
      view.drawPenValue = tool === "pen" ? 1 : 0;
      view.drawPenSize = size;
      view.drawIsEnabled = tool !== "none";
    });
  }

  // Takes the last stroke back.
  undoStroke() {
    return this.#then(() => {
      if (!this.#strokes || this.#strokes.length < 2) return;
      this.#strokes.pop();
      this.#view.drawingVolume.img = this.#strokes.at(-1).slice();
      this.#view.refreshDrawing();
    });
  }

  // Ends the correction and answers the mask in the order of its file, one byte a voxel.
  endDrawing() {
    return this.#then(async () => {
      const view = this.#view;
      const scan = view.volumes[0];
      const drawing = view.drawingVolume?.img;
      if (!scan || !drawing) throw new Error("nothing was being corrected");
      const voxels = new Uint8Array(drawing.length);
      forEachVoxel(scan, (drawn, stored) => (voxels[stored] = drawing[drawn] ? 1 : 0));
      view.closeDrawing();
      this.#strokes = null;
      await this.#placeOverlay();
      return voxels.buffer;
    });
  }

  // Answers the rendering as a `data:` URL, for a report; empty without a scan.
  rendering() {
    return this.#then(async () => {
      if (!this.#view.volumes[0]) return "";
      this.#view.sliceType = 4;
      this.#view.drawScene();
      // NiiVue draws in the next frame; what it drew is gone after that frame.
      const url = await new Promise((drawn) => requestAnimationFrame(() => drawn(this.#canvas.toDataURL("image/png"))));
      this.#arrange();
      return url;
    });
  }

  // Removes the overlays.
  clearOverlay() {
    return this.#then(async () => {
      this.#dropDrawing();
      this.#probability = null;
      this.#mask = null;
      this.#comparison = null;
      this.#dropOverlay();
      await this.#view.updateGLVolume();
    });
  }

  // Removes everything.
  clear() {
    return this.#then(async () => {
      this.#dropDrawing();
      this.#probability = null;
      this.#mask = null;
      this.#comparison = null;
      await this.#view.removeAllVolumes();
    });
  }

  // Gives the canvas and its textures back.
  dispose() {
    return this.#then(() => this.#view.destroy());
  }

  #overlayStyle() {
    const { display, opacity, threshold } = this.#style;
    // With calMin at zero NiiVue would paint the whole field of view.
    return display === "probability" ? { opacity, calMin: Math.max(threshold, 0.005) } : { opacity };
  }

  // Only the overlay on show is NiiVue's: with one, it re-slices on the graphics card; with two, on the processor.
  async #placeOverlay() {
    this.#dropOverlay();
    const all = { mask: this.#mask, probability: this.#probability, comparison: this.#comparison, none: null };
    // The drawing is the mask while it is corrected.
    const overlay = this.#strokes ? null : all[this.#style.display];
    if (overlay && this.#view.volumes[0]) {
      await this.#view.addVolume({ ...overlay, ...this.#overlayStyle() });
    } else {
      await this.#view.updateGLVolume();
    }
    if (this.#view.volumes[0]) this.#view.createOnLocationChange();
  }

  #dropDrawing() {
    if (this.#strokes) this.#view.closeDrawing();
    this.#strokes = null;
  }

  #dropOverlay() {
    while (this.#view.volumes.length > 1) this.#view.model.removeVolume(1);
  }

  // Setting the affine that it has already is NiiVue's way to redraw one overlay without uploading the scan again.
  async #redrawOverlay() {
    await this.#view.setVolumeAffine(1, this.#view.getVolumeAffine(1));
    this.#view.createOnLocationChange();
  }

  // Moves the crosshair into the mask: to its fullest slice, there to the fullest row, there to the middle of it.
  #visit({ img, hdr }) {
    const [nx, ny, nz] = hdr.dims.slice(1, 4);
    const fullest = (counts) => counts.indexOf(Math.max(...counts));
    const slices = new Array(nz).fill(0);
    for (let k = 0, at = 0; k < nz; k++) for (let end = at + nx * ny; at < end; at++) slices[k] += img[at];
    const k = fullest(slices);
    if (!slices[k]) return;
    const rows = new Array(ny).fill(0);
    for (let j = 0, at = k * nx * ny; j < ny; j++) for (let end = at + nx; at < end; at++) rows[j] += img[at];
    const j = fullest(rows);
    const row = [];
    for (let i = 0; i < nx; i++) if (img[(k * ny + j) * nx + i]) row.push(i);
    const i = row[row.length >> 1];
    this.#view.setCrosshairPos(hdr.affine.slice(0, 3).map(([a, b, c, d]) => a * i + b * j + c * k + d));
  }

  #arrange() {
    const slices = { axial: 0, coronal: 1, sagittal: 2, all: 3, render: 4 };
    this.#view.sliceType = slices[this.#layout.panes];
    this.#view.isRadiological = this.#layout.radiological;
    this.#view.drawScene();
  }
}

// Strokes that can be undone: each is a copy of the whole mask.
const MOST_STROKES = 12;

// What is to be white by the middle third of a scan along each axis; NaN if it has no numbers. The middle of a head is brain: fat
// around it can be twice as bright, and a window that spans both leaves the brain in the dark.
function whiteInTheMiddle({ img, dims: [, nx, ny, nz], hdr }) {
  const middle = (n) => Array.from({ length: Math.ceil(n / 6) }, (_, at) => Math.floor(n / 3) + 2 * at);
  const found = middle(nz).flatMap((z) => middle(ny).flatMap((y) => middle(nx).map((x) => img[x + nx * (y + ny * z)])));
  const values = Float64Array.from(found.filter(Number.isFinite)).sort();
  const brightest = values[Math.floor((1 - GLARE) * values.length)];
  return HEADROOM * (brightest * (hdr.scl_slope || 1) + (hdr.scl_inter || 0));
}

// Visits all voxels of a scan: their place in a drawing (which is in RAS order) and in the file.
function forEachVoxel({ dimsRAS, img2RASstep: step, img2RASstart: start }, visit) {
  const [, nx, ny, nz] = dimsRAS;
  const first = start[0] + start[1] + start[2];
  let drawn = 0;
  for (let z = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++) visit(drawn++, first + x * step[0] + y * step[1] + z * step[2]);
}

// NiiVue goes by the name's ending, which need not be there: the first two bytes tell gzip.
async function named(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return new File([file], first === 0x1f && second === 0x8b ? "scan.nii.gz" : "scan.nii");
}
