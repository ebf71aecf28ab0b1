"use strict";

// Set as FastAPI sets it on its own page, and without the badge of a validator elsewhere.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  showCommonExtensions: true,
  showExtensions: true,
  validatorUrl: null,
});
