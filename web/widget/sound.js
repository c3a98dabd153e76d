// A short sound of two tones. There is none before the reader has done something in the page: browsers see to that.

const TONES_HZ = [880, 1175];
const TONE_S = 0.12;
const LOUDNESS = 0.05;

/** @type {AudioContext | undefined} */
let audio;

export function chime() {
  if (!globalThis.AudioContext || !navigator.userActivation?.hasBeenActive) return;
  audio ??= new AudioContext();
  const volume = audio.createGain();
  volume.connect(audio.destination);
  const begin = audio.currentTime;
  volume.gain.setValueAtTime(LOUDNESS, begin);
  volume.gain.exponentialRampToValueAtTime(0.0001, begin + 4 * TONE_S);
  TONES_HZ.forEach((hertz, index) => {
    const tone = new OscillatorNode(/** @type {AudioContext} */ (audio), { frequency: hertz });
    tone.connect(volume);
    tone.start(begin + index * TONE_S);
    tone.stop(begin + 4 * TONE_S);
  });
}
