// node --import insecure_context.mjs PROGRAM
//
// Takes away what browsers do not give to pages that came over plain http.

for (const name of ["randomUUID", "subtle"])
  Object.defineProperty(Object.getPrototypeOf(globalThis.crypto), name, { value: undefined });
if (crypto.subtle || crypto.randomUUID) throw new Error("they are still there");
