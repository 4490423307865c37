-- Recognises connections that begin with another protocol and continue with TLS, which Wireshark does not dissect.
--
-- Wireshark keeps dissecting an RDP connection as X.224, and a connection with an HTTP upgrade to TLS as HTTP, so it shows
-- no certificate.
-- Sources: [MS-RDPBCGR] 2.2.1.1 (X.224 Connection Request with an RDP Negotiation Request), RFC 2817.

local M = {}

--- Return the dissector of the first protocol of a connection, if it may continue with TLS; else nil.
---@param bytes string
---@return string|nil
function M.before_tls(bytes)
    if bytes:find("^\3\0..[\6-\254]\224") and bytes:find("\1.\8\0.\0\0\0", 12) then
        return "tpkt"
    elseif bytes:find("^%u+ [^\r]- HTTP/1%.[01]\r\n") and bytes:lower():find("\r\nupgrade:[^\r]*tls/1") then
        return "http"
    end
end

--- Return whether a segment begins with a ClientHello (RFC 8446, sections 4 and 5.1).
---@param bytes string
---@return boolean
function M.is_hello(bytes)
    return bytes:find("^\22\3[\0-\4]..\1") ~= nil
end

return M
