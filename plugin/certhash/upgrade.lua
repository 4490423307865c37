-- Connections that begin with something else and go on with TLS, and that Wireshark does not follow there.
--
-- It keeps a connection of RDP with X.224, and one that HTTP upgrades to TLS with HTTP, so that no certificate is shown.
-- Sources: [MS-RDPBCGR] 2.2.1.1 (X.224 Connection Request with an RDP Negotiation Request), RFC 2817.

local M = {}

--- The name of the dissector for what a connection begins with, if it may go on with TLS; nil otherwise.
---@param bytes string
---@return string|nil
function M.before_tls(bytes)
    if bytes:find("^\3\0..[\6-\254]\224") and bytes:find("\1.\8\0.\0\0\0", 12) then
        return "tpkt"
    elseif bytes:find("^%u+ [^\r]- HTTP/1%.[01]\r\n") and bytes:lower():find("\r\nupgrade:[^\r]*tls/1") then
        return "http"
    end
end

--- Whether a segment begins with a ClientHello (RFC 8446, sections 4 and 5.1).
---@param bytes string
---@return boolean
function M.is_hello(bytes)
    return bytes:find("^\22\3[\0-\4]..\1") ~= nil
end

return M
