// The scene in three dimensions: cloud, hands, approach. Camera frame (x right, y down, z forward), metres.

import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFExporter } from "three/addons/exporters/GLTFExporter.js";

// {positions, colours} of a depth image through a pinhole camera; picture: ImageData of the same size, or null.
export function cloud({ width, height, metres }, { fx, fy, cx, cy }, picture = null) {
  const positions = [];
  const colours = [];
  metres.forEach((z, index) => {
    if (!z) return;
    const [u, v] = [index % width, Math.floor(index / width)];
    positions.push(((u - cx) * z) / fx, ((v - cy) * z) / fy, z);
    const rgb = picture ? [...picture.data.subarray(4 * index, 4 * index + 3)] : [150, 165, 180];
    colours.push(...rgb.map((value) => value / 255));
  });
  return { positions: new Float32Array(positions), colours: new Float32Array(colours) };
}

// Boxes [x, y, z, centre x, y, z] of a jaw in the grasp frame, or of one part of it: two fingers of two boxes each, and the palm.
export function jaw_boxes(gripper, width, part = null) {
  const { finger_thickness, finger_width, finger_depth, palm_width, palm_thickness } = gripper;
  const pad = { thickness: gripper.pad_thickness ?? finger_thickness, depth: gripper.pad_depth ?? finger_depth };
  const boxes = [];
  for (const [name, side] of [["finger_left", -1], ["finger_right", 1]]) {
    if (part && part !== name) continue;
    const at = (thickness) => side * (width / 2 + thickness / 2);
    boxes.push([pad.thickness, finger_width, pad.depth, at(pad.thickness), 0, -pad.depth / 2]);
    const rest = finger_depth - pad.depth;
    if (rest > 0) boxes.push([finger_thickness, finger_width, rest, at(finger_thickness), 0, -pad.depth - rest / 2]);
  }
  if (!part || part === "palm") boxes.push([palm_width, palm_thickness, 0.03, 0, 0, -finger_depth - 0.015]);
  return boxes;
}

const REFUSED = 0xff2424;
const colour = (quality) => new THREE.Color().setHSL(quality / 3, 0.8, 0.45);

// The chosen hand in full; of the others a fork along the fingers' inner faces, so that they do not hide the scene.
function hand(grasp, gripper, selected) {
  const group = new THREE.Group();
  const material = new THREE.MeshStandardMaterial({ color: 0xf2f2f2, transparent: true, opacity: 0.8 });
  if (!selected) {
    const [half, back] = [(grasp.width ?? 0.01) / 2, -gripper.finger_depth];
    const corners = grasp.kind === "suction" ? [[0, 0], [0, -0.05]] : [[-half, 0], [-half, back], [half, back], [half, 0]];
    const fork = new THREE.BufferGeometry().setFromPoints(corners.map(([x, z]) => new THREE.Vector3(x, 0, z)));
    group.add(new THREE.Line(fork, new THREE.LineBasicMaterial({ color: colour(grasp.quality) })));
  } else if (grasp.kind === "suction") {
    const cup = new THREE.Mesh(new THREE.CylinderGeometry(gripper.cup_radius, gripper.cup_radius, 0.02, 24), material);
    cup.rotation.x = Math.PI / 2;
    cup.position.z = -0.01;
    group.add(cup);
  } else
    for (const [x, y, z, ...centre] of jaw_boxes(gripper, grasp.width ?? gripper.max_width)) {
      const box = new THREE.Mesh(new THREE.BoxGeometry(x, y, z), material);
      box.position.set(...centre);
      group.add(box);
    }
  if (selected) group.add(new THREE.ArrowHelper(new THREE.Vector3(0, 0, 1), new THREE.Vector3(0, 0, -0.14), 0.07, colour(grasp.quality)));
  group.applyMatrix4(new THREE.Matrix4().set(...grasp.pose_camera.flat()));
  return group;
}

// Of a refused grasp a red fork, the part that meets something in full, and a ball where it does.
function refusal(grasp, gripper) {
  const group = new THREE.Group();
  const line = new THREE.LineBasicMaterial({ color: REFUSED });
  const red = new THREE.MeshStandardMaterial({ color: REFUSED, transparent: true, opacity: 0.55 });
  const [half, back] = [(grasp.width ?? 0.01) / 2, -gripper.finger_depth];
  const corners = grasp.kind === "suction" ? [[0, 0], [0, -0.05]] : [[-half, 0], [-half, back], [half, back], [half, 0]];
  group.add(new THREE.Line(new THREE.BufferGeometry().setFromPoints(corners.map(([x, z]) => new THREE.Vector3(x, 0, z))), line));
  if (grasp.part && grasp.part !== "cup")
    for (const [x, y, z, ...centre] of jaw_boxes(gripper, grasp.width ?? gripper.max_width, grasp.part)) {
      const box = new THREE.Mesh(new THREE.BoxGeometry(x, y, z), red);
      box.position.set(...centre);
      group.add(box);
    }
  group.applyMatrix4(new THREE.Matrix4().set(...grasp.pose_camera.flat()));
  const whole = new THREE.Group();
  whole.add(group);
  if (grasp.obstacle_camera) {
    const ball = new THREE.Mesh(new THREE.SphereGeometry(0.003), new THREE.MeshBasicMaterial({ color: REFUSED }));
    ball.position.set(...grasp.obstacle_camera);
    whole.add(ball);
  }
  return whole;
}

export class Space {
  constructor(container) {
    this.container = container;
    this.renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
    container.replaceChildren(this.renderer.domElement);
    this.renderer.domElement.setAttribute("role", "img");
    this.renderer.domElement.setAttribute("aria-label", "cloud and hands in three dimensions; drag to turn");
    this.camera = new THREE.PerspectiveCamera(50, 4 / 3, 0.01, 20);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.addEventListener("change", () => this.render());
    new ResizeObserver(() => this.render()).observe(container);
  }

  // points: of `cloud`; grasps with pose_camera; gripper: its sizes; selected: rank; refused: grasps with reason and part; pushes
  // with start_camera and end_camera.
  show(points, grasps, gripper, selected, keep_view = false, refused = [], pushes = []) {
    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color(0x1d2026);
    this.content = new THREE.Group();
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(points.positions, 3));
    geometry.setAttribute("color", new THREE.BufferAttribute(points.colours, 3));
    this.content.add(new THREE.Points(geometry, new THREE.PointsMaterial({ size: 2, sizeAttenuation: false, vertexColors: true })));
    const drawn = grasps.map((grasp, rank) => [grasp, rank]).filter(([grasp, rank]) => grasp.pose_camera && (rank < 12 || rank === selected));
    for (const [grasp, rank] of drawn) this.content.add(hand(grasp, gripper, rank === selected));
    for (const grasp of refused.filter(({ pose_camera }) => pose_camera)) this.content.add(refusal(grasp, gripper));
    for (const { start_camera, end_camera, length } of pushes) {
      const [start, end] = [start_camera, end_camera].map((pose) => new THREE.Vector3(...pose.slice(0, 3).map((row) => row[3])));
      this.content.add(new THREE.ArrowHelper(end.sub(start).normalize(), start, length, 0x44aaff, 0.02, 0.012));
    }
    this.content.rotation.x = Math.PI; // y down, z forward becomes y up, z backward, as three.js has it
    this.scene.add(this.content, new THREE.AmbientLight(0xffffff, 1.2), new THREE.DirectionalLight(0xffffff, 2));
    if (!keep_view) {
      geometry.computeBoundingSphere();
      const { center, radius } = geometry.boundingSphere ?? { center: new THREE.Vector3(0, 0, 0.5), radius: 0.3 };
      const middle = new THREE.Vector3(center.x, -center.y, -center.z);
      this.controls.target.copy(middle);
      this.camera.position.copy(middle).add(new THREE.Vector3(0.7, 0.9, 1.6).multiplyScalar(radius));
      this.controls.update();
    }
    this.render();
  }

  render() {
    if (!this.scene) return;
    const { clientWidth: width, clientHeight: height } = this.container;
    if (!width) return;
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    this.renderer.setSize(width, height, false);
    Object.assign(this.renderer.domElement.style, { width: "100%", height: "100%" });
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.render(this.scene, this.camera);
  }

  async glb() {
    return new Blob([await new GLTFExporter().parseAsync(this.content, { binary: true })], { type: "model/gltf-binary" });
  }
}

// Cloud and corners of the hands as ASCII PLY, camera frame.
export function ply(points, grasps, gripper, refused = []) {
  const vertices = [];
  for (let i = 0; i < points.positions.length; i += 3)
    vertices.push(`${[...points.positions.subarray(i, i + 3)].map((value) => value.toFixed(5)).join(" ")} ${[...points.colours.subarray(i, i + 3)].map((value) => Math.round(255 * value)).join(" ")}`);
  const faces = [];
  for (const grasp of [...grasps, ...refused].filter(({ pose_camera, kind }) => pose_camera && kind !== "suction")) {
    const pose = new THREE.Matrix4().set(...grasp.pose_camera.flat());
    const tint = (grasp.reason ? new THREE.Color(REFUSED) : colour(grasp.quality)).toArray().map((value) => Math.round(255 * value)).join(" ");
    for (const [x, y, z, ...centre] of jaw_boxes(gripper, grasp.width ?? gripper.max_width, grasp.part)) {
      const first = vertices.length;
      for (let corner = 0; corner < 8; corner++) {
        const at = [x, y, z].map((size, axis) => centre[axis] + (corner & (1 << axis) ? size / 2 : -size / 2));
        vertices.push(`${new THREE.Vector3(...at).applyMatrix4(pose).toArray().map((value) => value.toFixed(5)).join(" ")} ${tint}`);
      }
      for (const face of [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]) faces.push(`4 ${face.map((index) => first + index).join(" ")}`);
    }
  }
  const header = ["ply", "format ascii 1.0", `element vertex ${vertices.length}`, ..."xyz".split("").map((axis) => `property float ${axis}`),
    ...["red", "green", "blue"].map((name) => `property uchar ${name}`), `element face ${faces.length}`, "property list uchar int vertex_indices", "end_header"];
  return new Blob([[...header, ...vertices, ...faces].join("\n"), "\n"], { type: "text/plain" });
}
