// Whether the system may show notifications. The browser is asked for it only by a press.

/** Asks for permission. Only after the reader has pressed something. */
export async function askForDesktop() {
  return "Notification" in globalThis && (await Notification.requestPermission()) === "granted";
}

export function isDesktopGranted() {
  return "Notification" in globalThis && Notification.permission === "granted";
}
