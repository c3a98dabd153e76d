// Takes the pictures of the README from a real server: `npm run shots`.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { isLive } from "./browser.mjs";
import { startServer } from "./server.mjs";

const FOLDER = fileURLToPath(new URL("../docs/img/", import.meta.url));

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago, and what: the oldest first. */
const NOTIFICATIONS = [
  [2 * DAY, { message: "Bienvenida, Lucía. Aquí verás todo lo que pase en la tienda, en cuanto pase." }],
  [26 * HOUR, {
    title: "El certificado caduca pronto", severity: "warning", url: "/certificados",
    message: "El de tienda.example vence dentro de 9 días. La renovación automática está apagada.",
  }],
  [5 * HOUR, {
    title: "Copia de seguridad terminada", severity: "success",
    message: "Se han guardado 1284 documentos en 42 segundos.",
  }],
  [48 * MINUTE, {
    title: "Pago rechazado", severity: "error", url: "/facturas/2041",
    message: "El banco ha rechazado el cargo de 48,90 € de la factura 2041.",
  }],
  [12 * MINUTE, {
    title: "Ana López te ha asignado una tarea", severity: "info", url: "/tareas/77",
    message: "Revisar el informe del trimestre antes del viernes.",
  }],
  [0, { title: "El pedido 1093 está en camino", severity: "success", url: "/pedidos/1093", message: "Llega mañana entre las 9 y las 11." }],
];

const PICTURES = [
  { name: "list-es-light", query: "user_id=lucia&lang=es", colorScheme: "light", width: 1000, height: 830 },
  { name: "list-en-dark", query: "user_id=lucia&lang=en", colorScheme: "dark", width: 1000, height: 830 },
  { name: "mobile-es-light", query: "user_id=lucia&lang=es", colorScheme: "light", width: 375, height: 760 },
  { name: "empty-es-light", query: "user_id=marcos&lang=es", colorScheme: "light", width: 1000, height: 620 },
];

const cleanUps = [];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
cleanUps.push(() => browser.close());
try {
  const server = await startServer({ after: (cleanUp) => cleanUps.push(cleanUp) });
  const ages = new Map();
  for (const [age, notification] of NOTIFICATIONS) ages.set(await server.publish("lucia", notification), age);
  await mkdir(FOLDER, { recursive: true });

  for (const { name, query, colorScheme, width, height } of PICTURES) {
    const page = await browser.newPage({ colorScheme, viewport: { width, height }, deviceScaleFactor: 2 });
    // All were published within the same second. A picture shows them as they would come, spread over two days.
    await page.route(`${server.url}/?*`, async (route) => {
      const answer = await route.fetch();
      const body = (await answer.text()).replace(/data-id="([^"]+)"[^]*?datetime="([^"]+)"/g, (row, id, time) => {
        return row.replace(time, new Date(Date.parse(time) - (ages.get(id) ?? 0)).toISOString());
      });
      await route.fulfill({ response: answer, body });
    });
    await page.goto(`${server.url}/?${query}`);
    await isLive(page);
    await page.screenshot({ path: `${FOLDER}${name}.png` });
    await page.close();
  }
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}
