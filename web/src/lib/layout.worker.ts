import { layout, type Request } from "./layout";

self.addEventListener("message", (event: MessageEvent<{ id: number; request: Request }>) => {
  const { id, request } = event.data;
  try {
    self.postMessage({ id, layout: layout(request) });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
});
