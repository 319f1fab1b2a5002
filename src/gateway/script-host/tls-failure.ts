/** Why TLS with a server failed, for the author of a script. */

/** By the code of the error, as node:tls gives it. */
const MEANINGS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_REVOKED: 'the certificate was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is signed by itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate comes from an authority that is not known',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate comes from an authority that is not known',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate comes from an authority that is not known',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate comes from an authority that is not known',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'the server speaks none of the protocols of "alpn"',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the server does not speak TLS',
};
/** Whose certificate is not known can be made known. */
const WITHOUT_AUTHORITY = /authority|itself/;

export function tlsFailure(error: Error & { readonly code?: unknown }): string {
  const code = String(error.code ?? '');
  // What node:tls says names both: the one that was wanted and those that there are.
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return error.message.replaceAll(/\.(?= |$)/g, '');
  const meaning = MEANINGS[code];
  if (meaning === undefined) return code === '' ? error.message : `${error.message} (${code})`;
  return WITHOUT_AUTHORITY.test(meaning) ? `${meaning}; "scripts.tls.ca" adds one` : meaning;
}
