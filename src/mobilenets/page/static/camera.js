/** The camera, live. */
import { Trouble } from "./trouble.js";

const REFUSED = {
  NotAllowedError: ["The camera was refused.", "Allow it in the browser's settings for this page, then try again."],
  NotFoundError: ["There is no camera.", "Connect one, or choose a photo."],
  NotReadableError: ["The camera is in use by another program.", "Close that, then try again."],
};

/**
 * Starts the camera, the one that looks away from the user where there are two.
 *
 * @returns {Promise<{ video: HTMLVideoElement, frame: () => Promise<ImageBitmap>, stop: () => void }>}
 */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia)
    throw new Trouble("This page may not use the camera.", "Browsers allow it on https and on localhost only.");
  const wanted = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } }, audio: false };
  const stream = await navigator.mediaDevices.getUserMedia(wanted).catch((error) => {
    throw new Trouble(...(REFUSED[error.name] ?? [`The camera does not start: ${error.message}`, "Choose a photo."]));
  });
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  return {
    video,
    frame: () => createImageBitmap(video),
    stop: () => stream.getTracks().forEach((track) => track.stop()),
  };
}
