"use strict";
// Starts Swagger UI over the document of this API. The search looks at path, summary, description and operation id; each word must be found.
const search = () => ({
  fn: {
    opsFilter: (tagged, phrase) => {
      const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
      const matches = (tag) => (entry) => {
        const said = ["summary", "description", "operationId"].map((name) => entry.getIn(["operation", name], ""));
        const text = [tag, entry.get("method"), entry.get("path"), ...said].join(" ").toLowerCase();
        return words.every((word) => text.includes(word));
      };
      return tagged
        .map((group, tag) => group.update("operations", (entries) => entries.filter(matches(tag))))
        .filter((group) => group.get("operations").size > 0);
    },
  },
});
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  plugins: [search],
  requestSnippetsEnabled: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
